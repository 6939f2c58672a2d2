"""What auto-gptq does, in its own environment: `python autogptq_tool.py REQUEST.json`.

Run by `assay_compression.autogptq`. Nothing of ours is installed in that environment, so this file
imports nothing of ours and nothing of ours imports it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(request: Path) -> int:
    """Quantizes as the request says; returns the exit code."""
    quantize(json.loads(request.read_text()))
    return 0


def quantize(request: dict[str, Any]) -> None:
    """Loads, quantizes and saves; only safetensors, no code of the checkpoint."""
    from auto_gptq import (  # type: ignore[import-not-found]  # noqa: PLC0415 - see above
        AutoGPTQForCausalLM,
        BaseQuantizeConfig,
    )

    calls = calls_of(request)
    config = BaseQuantizeConfig(**calls["config"])
    model = AutoGPTQForCausalLM.from_pretrained(quantize_config=config, **calls["load"])
    for module in left_behind(model.model):
        module.to("cuda:0")
    model.quantize(**calls["quantize"])
    model.save_quantized(**calls["save"])


def left_behind(model: Any) -> list[Any]:
    """Parts with buffers and no weights, which auto-gptq does not take along to the GPU.

    It knows the embedding and the last norm by name. Rotary embeddings stand outside the layers
    since transformers 4.48, and auto-gptq is older.
    """
    return [
        module
        for module in model.modules()
        if any(True for _ in module.buffers()) and not any(True for _ in module.parameters())
    ]


def calls_of(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The keyword arguments of each call, by its name."""
    examples = [
        {"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in request["sequences"]
    ]
    return {
        "config": request["quantize_config"],
        "load": {
            "pretrained_model_name_or_path": request["model"],
            "trust_remote_code": False,
            "use_safetensors": True,
            "local_files_only": True,
        },
        "quantize": {"examples": examples, "batch_size": 1},
        "save": {"save_dir": request["out"], "use_safetensors": True},
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
