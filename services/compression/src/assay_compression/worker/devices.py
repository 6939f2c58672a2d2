"""What a job's device needs: that it is there, gives the same bytes again, and is used fully."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from assay_core.errors import FailedPrecondition


def ready(name: str, threads: int) -> torch.device:
    """Sets this process up to compute on `cpu` or `cuda`.

    Raises:
        FailedPrecondition: If torch sees no CUDA device.
    """
    torch.set_num_threads(threads)
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise FailedPrecondition.of(
                "device",
                f"is {name}, and torch {torch.__version__} sees no CUDA device here",
                reason="CUDA_NOT_AVAILABLE",
                remedy="start the service with --device cpu, or look at the driver (nvidia-smi) "
                "and at CUDA_VISIBLE_DEVICES",
            )
        # On the CPU these operations are deterministic, and the switch itself imports for seconds.
        torch.use_deterministic_algorithms(mode=True)
        # Nothing here reads memory that nothing wrote, so none need be filled first.
        torch.utils.deterministic.fill_uninitialized_memory = False
    return device


@contextmanager
def tensor_cores(*, allowed: bool) -> Iterator[None]:
    """Lets CUDA multiply float32 matrices in TF32: 10 bits of mantissa, summed in float32.

    Weights of 16 bits are exact in it, and inputs keep the mantissa of float16, in which the papers
    ran their models. The CPU knows no such thing and computes as ever.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        matmul.fp32_precision = before
