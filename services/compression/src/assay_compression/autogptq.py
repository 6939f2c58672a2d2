"""`assay-autogptq`: GPTQ by auto-gptq 0.7.1, on a CUDA machine, in an environment of its own.

auto-gptq is archived, quantizes on CUDA only and needs transformers below 5, so no job of the
service can run it. This command drives it as a process of `.venvs/autogptq` (`make autogptq`) and
leaves a checkpoint in the GPTQ format, which RegisterVariant adopts as a variant. Without CUDA it
refuses before it starts or reads anything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assay_compression.checkpoint.folder import TOKENIZER_FILES
from assay_compression.checkpoint.inspect import inspect
from assay_compression.jobs.spec import CalibrationSpec
from assay_compression.methods.registry import check_layout, check_shape
from assay_core.digest import sha256_file
from assay_core.errors import AlreadyExists, AssayError, FailedPrecondition, InvalidArgument
from assay_core.publication import partial_of, publish_directory
from assay_core.recipes import Recipe

TOOL = Path(__file__).with_name("autogptq_tool.py")
PYTHON = Path(".venvs/autogptq/bin/python")
WEIGHTS = "model"


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        require_cuda()
        if options.check:
            return 0
        quantize(options)
    except AssayError as error:
        sys.stderr.write(f"assay-autogptq: {error}\n")
        return 2
    sys.stderr.write(f"next: assay variants register {options.out} --parent {options.model}\n")
    return 0


def require_cuda() -> None:
    """Refuses a machine without CUDA.

    Raises:
        FailedPrecondition: With the reason and what to use instead.
    """
    import torch  # noqa: PLC0415 - seconds, which --help need not pay

    if not torch.cuda.is_available():
        raise FailedPrecondition.of(
            "backend",
            "is auto-gptq, which quantizes on CUDA only, and this machine shows no CUDA device",
            reason="CUDA_NOT_AVAILABLE",
            remedy="use the recipe gptq with layout packed-gptq: it runs here and writes the same "
            "format",
        )


def quantize(options: argparse.Namespace) -> None:
    """Makes the checkpoint `options.out`, which appears whole or not at all.

    Raises:
        AlreadyExists: If `out` is there.
        FailedPrecondition: The environment is missing, the model or the recipe does not fit, or
            auto-gptq failed; what it said is on standard error.
    """
    if options.model is None or options.out is None:
        raise InvalidArgument.of("model", "is missing", remedy="give MODEL and OUT")
    if options.out.exists():
        raise AlreadyExists(
            f"{options.out} exists", field="out", remedy="name a folder that is not there"
        )
    if not options.python.is_file():
        raise FailedPrecondition.of(
            "python",
            f"is {options.python}, which is not there",
            reason="ENVIRONMENT_MISSING",
            remedy="run `make autogptq` in the checkout, or name the environment's interpreter",
        )
    partial = partial_of(options.out.absolute())
    try:
        with tempfile.TemporaryDirectory(prefix="assay-autogptq-") as scratch:
            request = Path(scratch) / "request.json"
            request.write_text(json.dumps(request_of(options, partial)))
            done = subprocess.run([options.python, TOOL, request], env=_environment(), check=False)
        if done.returncode:
            raise FailedPrecondition(
                f"auto-gptq ended with {done.returncode}",
                reason="BACKEND_FAILED",
                remedy="read what it said above; the recipe gptq with layout packed-gptq gives the "
                "same format",
            )
        for name in TOKENIZER_FILES:
            if (options.model / name).is_file():
                shutil.copyfile(options.model / name, partial / name)
        publish_directory(partial, options.out.absolute())
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def request_of(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """What the tool is told: the keyword arguments of auto-gptq's calls, and token ids.

    Raises:
        FailedPrecondition: The checkpoint or the text does not fit the recipe.
        InvalidArgument: The recipe or the text is wrong.
    """
    from assay_compression.worker.sequences import draw_sequences  # noqa: PLC0415 - imports torch

    recipe = Recipe.parse(
        {
            "gptq": {
                "bits": options.bits,
                "group_size": options.group_size,
                "act_order": options.act_order,
                "damping": options.damping,
                "symmetric": not options.asymmetric,
            },
            "layout": "packed-gptq",
        }
    )
    checkpoint = inspect(options.model)
    if "auto_map" in checkpoint.config:
        # auto-gptq reads config.json with trust_remote_code, whatever it is told.
        raise FailedPrecondition.of(
            "model",
            "brings code of its own (auto_map in config.json), which auto-gptq would run",
            reason="REMOTE_CODE",
            remedy="remove auto_map if transformers knows the architecture without it",
        )
    check_layout(recipe, checkpoint)
    for module in checkpoint.linears:
        check_shape(recipe, module, checkpoint.shape(module)[1])
    if options.calibration is None or not options.calibration.is_file():
        raise InvalidArgument.of(
            "calibration", "names no file", remedy="name a text file, or JSON lines with a `text`"
        )
    sequences = draw_sequences(
        options.model,
        options.calibration,
        CalibrationSpec(
            digest=sha256_file(options.calibration),
            samples=options.samples,
            sequence_length=options.sequence_length,
            seed=options.seed,
        ),
    )
    return {
        "model": str(options.model),
        "out": str(out),
        "quantize_config": quantize_config(options),
        "sequences": sequences.tolist(),
    }


def quantize_config(options: argparse.Namespace) -> dict[str, Any]:
    """The recipe in auto-gptq's words."""
    return {
        "bits": options.bits,
        "group_size": options.group_size,
        "damp_percent": options.damping,
        "desc_act": options.act_order,
        "sym": not options.asymmetric,
        "true_sequential": True,
        "model_file_base_name": WEIGHTS,
    }


def _environment() -> dict[str, str]:
    # The checkpoint is a folder: nothing is to be asked of a hub.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="assay-autogptq",
        description="Compress a checkpoint with auto-gptq 0.7.1 on a CUDA machine.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("model", nargs="?", type=Path, help="folder of the dense checkpoint")
    parser.add_argument("out", nargs="?", type=Path, help="folder to make")
    parser.add_argument("--bits", type=int, default=4, help="2, 3, 4 or 8")
    parser.add_argument("--group-size", type=int, default=128, help="columns with one scale")
    parser.add_argument("--act-order", action="store_true", help="by decreasing activation")
    parser.add_argument("--damping", type=float, default=0.01, help="share of the mean diagonal")
    parser.add_argument("--asymmetric", action="store_true", help="a zero point per group")
    parser.add_argument("--calibration", type=Path, help="text, or JSON lines with a `text`")
    parser.add_argument("--samples", type=int, default=128, help="sequences")
    parser.add_argument("--sequence-length", type=int, default=512, help="tokens of each")
    parser.add_argument("--seed", type=int, default=0, help="of their draw")
    parser.add_argument("--python", type=Path, default=PYTHON, help="of auto-gptq's environment")
    parser.add_argument("--check", action="store_true", help="only say whether this machine can")
    return parser


if __name__ == "__main__":
    sys.exit(main())
