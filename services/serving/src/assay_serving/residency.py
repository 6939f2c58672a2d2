"""How much memory engines take, and which of them end so that another one fits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assay_core.errors import FieldViolation, ResourceExhausted
from assay_serving.domain import EngineSpec
from assay_serving.runtime import CPU_KV_CACHE_GIB

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Limits:
    """What engines may take together; `budget_bytes` 0 is no bound."""

    max_engines: int
    budget_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that runs: its memory in bytes, when it was used, whether it can be ended now."""

    engine_id: str
    memory_bytes: int
    last_used: float
    idle: bool


def engine_bytes(spec: EngineSpec, weight_bytes: int) -> int:
    """Memory of an engine: weights and KV cache of every replica it may have, in bytes.

    On a GPU a KV cache without a size of its own takes what the model leaves of the share; it is
    not counted, because nobody here knows how much that is.
    """
    kv_cache = spec.kv_cache_gib or (CPU_KV_CACHE_GIB if spec.device == "cpu" else 0)
    return spec.most_replicas * (weight_bytes + kv_cache * GIB)


def check_fits(needed: int, limits: Limits, what: str) -> None:
    """Refuse what does not fit even alone.

    Raises:
        ResourceExhausted: With the budget as the quota that is passed.
    """
    if limits.budget_bytes and needed > limits.budget_bytes:
        problem = (
            f"{what} takes {needed / GIB:.2f} GiB of weights and KV cache, and all engines together"
            f" may take {limits.budget_bytes / GIB:.2f}"
        )
        raise ResourceExhausted(
            problem,
            reason="MEMORY_BUDGET",
            remedy="ask for fewer replicas or a smaller kv_cache_gib, or raise memory_budget_gib",
            violations=[FieldViolation("memory_budget_gib", problem)],
            resource="quota/memory_budget_gib",
        )


def make_room(needed: int, running: Sequence[Running], limits: Limits) -> Sequence[Running] | None:
    """The engines to end so that another one fits, the least recently used first.

    Returns:
        None if that is not possible now: too many are in use.
    """
    stay = list(running)
    ended: list[Running] = []
    for candidate in sorted((r for r in running if r.idle), key=lambda r: r.last_used):
        if _fits(needed, stay, limits):
            break
        stay.remove(candidate)
        ended.append(candidate)
    return ended if _fits(needed, stay, limits) else None


def _fits(needed: int, running: Sequence[Running], limits: Limits) -> bool:
    taken = sum(engine.memory_bytes for engine in running)
    within = not limits.budget_bytes or taken + needed <= limits.budget_bytes
    return within and len(running) < limits.max_engines
