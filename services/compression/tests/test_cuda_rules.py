"""What CUDA needs of a job, as far as a CPU can tell. On a GPU: `make gpu-compression`."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch
from local_job import make
from test_methods import generator, seen, weights
from tiny_llama import write_checkpoint

from assay_compression.methods.awq import awq
from assay_compression.methods.grid import GridSpec
from assay_compression.planning import Planner
from assay_compression.settings import CompressionSettings
from assay_compression.worker import __main__ as worker
from assay_compression.worker import activations, statistics
from assay_compression.worker.devices import ready, tensor_cores
from assay_core.errors import FailedPrecondition
from assay_core.recipes import Calibration, Recipe

GPTQ = {"gptq": {"bits": 4, "group_size": 32}}


@pytest.mark.parametrize("reach", [1.0, 4.7, 1e-4])
@pytest.mark.parametrize("kind", ["drawn", "on a grid", "half zero", "bfloat16"])
def test_histograms_of_cuda_have_the_bins_of_the_cpu(kind, reach):
    weight = weights(1, 64, 96)
    weight = weight / weight.abs().max() * reach
    match kind:
        case "on a grid":
            weight = (weight / reach * 7).round() * (reach / 7)
        case "half zero":
            weight = weight.masked_fill(torch.rand(weight.shape, generator=generator(2)) < 0.5, 0)
        case "bfloat16":
            weight = weight.bfloat16().float()
    most = float(weight.abs().max())
    expected = torch.histc(weight, 40, -most, most).long()
    assert torch.equal(statistics.counted(weight, most), expected)


def test_a_histogram_counts_every_weight_of_a_large_matrix():
    """The library counts in float32, which ends at 16,777,216."""
    weight = torch.zeros(1, (1 << 24) + 3)
    assert sum(statistics._histogram(weight, 1.0)) == (1 << 24) + 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_job_for_a_device_that_is_not_there_says_so():
    with pytest.raises(FailedPrecondition, match="no CUDA device") as caught:
        ready("cuda", 1)
    assert (caught.value.field, caught.value.reason) == ("device", "CUDA_NOT_AVAILABLE")


def test_a_full_gpu_is_no_internal_error():
    error = worker._cause(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ..."))
    assert error.reason == "MEMORY_FULL"
    assert "GPU" in str(error)


def test_memory_of_the_machine_does_not_bound_a_job_on_a_gpu(
    tmp_path, checkpoint, calibration_file, monkeypatch
):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=64 << 20))
    settings = CompressionSettings(
        home=tmp_path, device="cuda", calibrations={"demo": str(calibration_file)}
    )
    drawn = Calibration(samples=8, sequence_length=32, seed=0)
    assert Planner(settings).plan(str(checkpoint), "", Recipe.parse(GPTQ), drawn).calibration


def test_products_in_tf32_are_allowed_within_the_block_and_nowhere_else():
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    for allowed, expected in ((True, "tf32"), (False, "ieee")):
        with tensor_cores(allowed=allowed):
            assert matmul.fp32_precision == expected
        assert matmul.fp32_precision == before


@pytest.mark.compression
@pytest.mark.parametrize(("dtype", "allowed"), [("float32", False), ("bfloat16", True)])
def test_only_16_bit_checkpoints_run_through_in_tf32(
    tmp_path, calibration_file, monkeypatch, dtype, allowed
):
    asked: set[bool] = set()
    real = activations.tensor_cores
    monkeypatch.setattr(
        activations, "tensor_cores", lambda *, allowed: asked.add(allowed) or real(allowed=allowed)
    )
    model = write_checkpoint(tmp_path / "model", dtype=getattr(torch, dtype))
    make(tmp_path / "home", model, {"wanda": {}}, calibration_file)
    assert asked == {allowed}


def test_awq_may_take_another_exponent_for_inputs_of_10_bits_with_the_same_error():
    """Why AWQ on CUDA is held to its output error and not to its codes."""
    others, errors = [], []
    for seed in range(300):
        weight = weights(seed, 128, 64)
        inputs = torch.randn(1536, 64, generator=generator(seed + 100))
        exact, rounded = seen(inputs), seen(tf32(inputs))
        spec = GridSpec(4, 32, symmetric=False)
        (mine,) = awq([weight], exact, spec, scale_dtype=torch.float32)
        (theirs,) = awq([weight], rounded, spec, scale_dtype=torch.float32)
        others.append(float((mine.codes != theirs.codes).float().mean()))
        error = exact.output_error(weight, mine.weight)
        errors.append(abs(exact.output_error(weight, theirs.weight) / error - 1))
    assert max(others) > 0.01
    assert max(errors) < 0.001


def tf32(values: torch.Tensor) -> torch.Tensor:
    """Rounded to 10 bits of mantissa, as CUDA's matrix units read them."""
    return ((values.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)
