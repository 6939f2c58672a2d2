"""`make layouts-vllm`: whether vLLM on CPU computes with a checkpoint what its dense form says.

    python services/compression/tests/layouts_vllm.py FOLDER [--checks]

FOLDER holds `N-packed` and `N-dense` per row of docs/compression-layouts.json, as
layout_table.py makes them. What vLLM's own checks of a packing refuse needs no engine; of the rest
each gets one, a process of its own; with `--checks` none does, and their rows stay as they are.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from layout_table import rows, write
from transformers import AutoModelForCausalLM
from vllm.model_executor.kernels.linear import choose_mp_linear_kernel
from vllm.model_executor.kernels.linear.mixed_precision.MPLinearKernel import MPLinearLayerConfig
from vllm.model_executor.layers.quantization import get_quantization_config
from vllm.scalar_type import ScalarType

_PROMPT = list(range(3, 60))
_TOKENS = 16
_MARK = "tokens: "
_LIMIT_SECONDS = 300
_GAP_NATS = 0.1
# Of the demo model's matrices and of layout_table's recipes.
_SHAPE, _GROUP = (128, 128), 32


def main() -> None:
    """Tries every row, or, as `FOLDER/N-packed --one`, generates with one checkpoint."""
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["--one"]:
        sys.stdout.write(f"\n{_MARK}{json.dumps(_generate(folder))}\n")
        return
    facts = rows()
    for number, row in enumerate(facts):
        checkpoint = folder / f"{number}-packed"
        answer = _refusal(row, checkpoint)
        if not answer and sys.argv[2:] != ["--checks"]:
            answer = _answer(_tokens_of(checkpoint), folder / f"{number}-dense")
        row["vllm_cpu"] = answer or row["vllm_cpu"]
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
        write(facts)


def _refusal(row: dict[str, Any], checkpoint: Path) -> str:
    """`no` if vLLM has no kernel for a packing, or does not accept its configuration."""
    packing = json.loads((checkpoint / "config.json").read_text()).get("quantization_config")
    if packing is None:
        return ""
    bits, symmetric = row["bits"], row["symmetric"]
    linear = MPLinearLayerConfig(
        full_weight_shape=_SHAPE,
        partition_weight_shape=_SHAPE,
        weight_type=ScalarType.uint(bits, 1 << (bits - 1) if symmetric else None),
        act_type=torch.bfloat16,
        group_size=_GROUP,
        zero_points=not symmetric,
    )
    try:
        get_quantization_config(packing["quant_method"]).from_config(packing)
        choose_mp_linear_kernel(linear)
    except ValueError as error:
        sys.stdout.write(f"{str(error).splitlines()[0]}\n")
        return "no"
    return ""


def _answer(tokens: list[int] | None, dense: Path) -> str:
    if tokens is None:
        return "no"
    return "yes" if _worst_gap(tokens, dense) < _GAP_NATS else "other tokens"


def _tokens_of(checkpoint: Path) -> list[int] | None:
    """Greedy tokens by vLLM; None if the engine does not start, or not in time."""
    command = [sys.executable, __file__, str(checkpoint), "--one"]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    log = checkpoint.parent / f"{checkpoint.name}.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        ) as process,
    ):
        try:
            output, _ = process.communicate(timeout=_LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            # The engine's own processes are in the group too.
            os.killpg(process.pid, signal.SIGKILL)
            return None
    if process.returncode:
        return None
    # The engine writes to standard output too, after the tokens as well as before them.
    (line,) = (line for line in output.decode().splitlines() if line.startswith(_MARK))
    tokens: list[int] = json.loads(line.removeprefix(_MARK))
    return tokens


def _generate(checkpoint: Path) -> list[int]:
    from vllm import LLM, SamplingParams

    engine = LLM(str(checkpoint), enforce_eager=True, max_model_len=512, skip_tokenizer_init=True)
    sampling = SamplingParams(temperature=0, max_tokens=_TOKENS, ignore_eos=True, detokenize=False)
    (output,) = engine.generate([{"prompt_token_ids": _PROMPT}], sampling)
    return list(output.outputs[0].token_ids)


def _worst_gap(tokens: list[int], dense: Path) -> float:
    """Most nats that a token of vLLM lies below the likeliest one of the dense form.

    0 for equal arithmetic; in bfloat16 near ties may fall either way.
    """
    model = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.tensor([_PROMPT + tokens])).logits[0, len(_PROMPT) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(tokens).unsqueeze(1)).squeeze(1)
    return float((logits.amax(1) - chosen).max())


if __name__ == "__main__":
    main()
