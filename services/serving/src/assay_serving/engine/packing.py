"""Packed weights: what `quantization_config` says, and which of it the engine here can run.

What cannot be run is refused before an engine starts: vLLM would say so after a minute, in words
about kernels. Measured with vLLM 0.32 on a CPU, whose one kernel for packed weights knows 4 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay_core.errors import FailedPrecondition

CPU_BITS = frozenset({4})
CPU_FORMATS = frozenset({"compressed-tensors", "gptq", "awq"})


@dataclass(frozen=True, slots=True)
class Packing:
    """A packing by its method (`quant_method`) and the bits of each group of modules."""

    method: str
    bits: frozenset[int]
    activations: bool = False

    def __str__(self) -> str:
        bits = "/".join(str(b) for b in sorted(self.bits)) or "unknown"
        return f"{self.method} with {bits} bits" + (" and quantized activations" * self.activations)


def packing_of(config: Mapping[str, Any]) -> Packing | None:
    """The packing that a config.json describes, as far as it does; None for a dense layout."""
    given = config.get("quantization_config")
    if not isinstance(given, Mapping):
        return None
    method = str(given.get("quant_method", "unknown"))
    try:
        return _described(method, given)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Packing(method, frozenset())


def _described(method: str, given: Mapping[str, Any]) -> Packing:
    if method != "compressed-tensors":
        return Packing(method, frozenset({int(given.get("bits", given.get("w_bit", 0)))} - {0}))
    groups = [group for group in given.get("config_groups", {}).values() if group.get("weights")]
    return Packing(
        method,
        frozenset(int(group["weights"]["num_bits"]) for group in groups),
        activations=any(group.get("input_activations") for group in groups),
    )


def check_served(packing: Packing | None, device: str) -> None:
    """Refuse a packing that the engine on `device` has no kernel for.

    Raises:
        FailedPrecondition: It has none; names what the artifact has and what would be served.
    """
    if packing is None or device != "cpu":
        return
    known = packing.method in CPU_FORMATS and packing.bits and packing.bits <= CPU_BITS
    if known and not packing.activations:
        return
    raise FailedPrecondition.of(
        "artifact_uri",
        f"holds packed weights ({packing}), and this engine on the CPU runs 4-bit weights of "
        "compressed-tensors, GPTQ and AWQ only",
        reason="PACKING_NOT_SERVED",
        remedy="load the dense layout of the same variant (same values), or serve it on a GPU",
        metadata={"quant_method": packing.method, "bits": ",".join(map(str, sorted(packing.bits)))},
    )
