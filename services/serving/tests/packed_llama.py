"""Packed checkpoints in the compression service's own formats, and their values as a dense one."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from services.serving.tests.conftest import make_model

SOURCE = Path(__file__).resolve().parents[2] / "compression" / "src"
FORMATS = ("compressed-tensors", "gptq")
GROUP = 64
LINEARS = ("_proj.weight",)


def write_packed(directory: Path, format_name: str, *, bits: int) -> tuple[Path, Path]:
    """A tiny Llama rounded to the nearest point of a grid: packed, and dense."""
    formats, grid = _compression()
    module = formats[format_name]
    source = make_model(directory / "source", seed=1)
    packed, dense = directory / "packed", directory / "dense"
    for copy in (packed, dense):
        shutil.copytree(source, copy)
    spec = grid.GridSpec(bits=bits, group_size=GROUP)
    packed_tensors, dense_tensors = {}, {}
    for name, value in load_file(source / "model.safetensors").items():
        if not name.endswith(LINEARS):
            packed_tensors[name] = dense_tensors[name] = value
            continue
        fitted = grid.fit(value.float(), spec, scale_dtype=torch.float16)
        quantized = grid.round_to_nearest(value.float(), fitted)
        parts = (
            module.pack(quantized)
            if format_name == "gptq"
            else module.pack(quantized, scale_dtype=torch.float32)
        )
        stem = name.removesuffix("weight")
        packed_tensors |= {f"{stem}{part}": tensor for part, tensor in parts.items()}
        dense_tensors[name] = quantized.weight
    save_file(packed_tensors, packed / "model.safetensors", metadata={"format": "pt"})
    save_file(dense_tensors, dense / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((source / "config.json").read_text())
    described = (
        module.config(spec, None)
        if format_name == "gptq"
        else module.config(spec, ignored=["lm_head"])
    )
    document = config | {"quantization_config": described}
    (packed / "config.json").write_text(json.dumps(document))
    return packed, dense


def _compression() -> tuple[dict[str, Any], Any]:
    """The formats of the compression service, which is not installed beside the engine."""
    sys.path.insert(0, str(SOURCE))
    try:
        from assay_compression.formats import compressed_tensors_format, gptq_format
        from assay_compression.methods import grid
    finally:
        sys.path.remove(str(SOURCE))
    return {"compressed-tensors": compressed_tensors_format, "gptq": gptq_format}, grid
