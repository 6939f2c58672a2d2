"""`make layouts-vllm`: whether vLLM on CPU computes with a checkpoint what its dense form says.

    python services/compression/tests/layouts_vllm.py FOLDER

FOLDER holds `N-packed` and `N-dense` per row of docs/compression-layouts.json, as
layout_table.py makes them. Each engine is a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from layout_table import rows, write
from transformers import AutoModelForCausalLM

_PROMPT = list(range(3, 60))
_TOKENS = 16
_MARK = "tokens: "
_LIMIT_SECONDS = 300


def main() -> None:
    """Tries every row, or, as `FOLDER/N-packed --one`, generates with one checkpoint."""
    folder = Path(sys.argv[1])
    if sys.argv[2:] == ["--one"]:
        sys.stdout.write(f"\n{_MARK}{json.dumps(_generate(folder))}\n")
        return
    facts = rows()
    for number, row in enumerate(facts):
        found = _tokens_of(folder / f"{number}-packed")
        same = found == _expected(folder / f"{number}-dense")
        row["vllm_cpu"] = "no" if found is None else "yes" if same else "other tokens"
        sys.stdout.write(f"{row}\n")
        sys.stdout.flush()
        write(facts)


def _tokens_of(checkpoint: Path) -> list[int] | None:
    """Greedy tokens by vLLM; None if the engine does not start."""
    command = [sys.executable, __file__, str(checkpoint), "--one"]
    environment = os.environ | {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, timeout=_LIMIT_SECONDS, check=False
    )
    if done.returncode:
        (checkpoint.parent / f"{checkpoint.name}.log").write_bytes(done.stderr)
        return None
    # The engine writes to standard output too, after the tokens as well as before them.
    (line,) = (line for line in done.stdout.decode().splitlines() if line.startswith(_MARK))
    tokens: list[int] = json.loads(line.removeprefix(_MARK))
    return tokens


def _generate(checkpoint: Path) -> list[int]:
    from vllm import LLM, SamplingParams

    engine = LLM(str(checkpoint), enforce_eager=True, max_model_len=512, skip_tokenizer_init=True)
    sampling = SamplingParams(temperature=0, max_tokens=_TOKENS, ignore_eos=True, detokenize=False)
    (output,) = engine.generate([{"prompt_token_ids": _PROMPT}], sampling)
    return list(output.outputs[0].token_ids)


def _expected(checkpoint: Path) -> list[int]:
    """Greedy tokens of the dense form, by transformers."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    ids = torch.tensor([_PROMPT])
    for _ in range(_TOKENS):
        with torch.inference_mode():
            following = model(ids).logits[:, -1:].argmax(-1)
        ids = torch.cat([ids, following], 1)
    return ids[0, len(_PROMPT) :].tolist()


if __name__ == "__main__":
    main()
