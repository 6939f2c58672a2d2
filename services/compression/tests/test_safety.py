"""What goes wrong on the way: full disks, little memory, singular Hessians, interruptions."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import running_service, small_calibration
from families import write_family
from local_job import job, make
from test_methods import generator, quantize, seen, weights
from tiny_llama import write_checkpoint

from assay_compression import artifacts
from assay_compression.jobs.reports import ErrorReport, ProgressReport, ResultReport, parse_report
from assay_compression.methods.gptq import gptq
from assay_compression.methods.grid import GridSpec
from assay_compression.methods.rtn import rtn
from assay_compression.methods.sparsegpt import sparsegpt
from assay_compression.worker.__main__ import run
from assay_compression.worker.job import run_job
from assay_core.errors import ResourceExhausted
from assay_core.pb import common_pb2
from assay_core.recipes import Recipe
from assay_core.storage import ObjectStore


class InterruptedJobError(Exception):
    pass


@pytest.mark.parametrize(
    ("family", "recipe"),
    [
        ("LlamaForCausalLM", {"awq": {"bits": 4, "group_size": 32}, "layout": "packed"}),
        ("GPT2LMHeadModel", {"sparsegpt": {"pattern": "4:8"}}),
        ("OPTForCausalLM", {"rtn": {"bits": 3, "group_size": 32}, "layout": "packed-gptq"}),
    ],
)
@pytest.mark.compression
def test_interrupted_job_goes_on_at_its_layer_and_gives_the_same_bytes(
    tmp_path, calibration_file, family, recipe
):
    model = write_family(tmp_path / "m", family)
    whole = make(tmp_path / "undisturbed", model, recipe, calibration_file)
    spec = job(tmp_path / "home", model, recipe, calibration_file)

    def stop(report) -> None:
        if isinstance(report, ProgressReport) and report.completed == 1:
            raise InterruptedJobError

    with pytest.raises(InterruptedJobError):
        run_job(spec, stop)
    (first,) = (spec.work_dir / "layers").glob("*.json")
    written = first.stat().st_mtime_ns
    reports = []

    def watch(report) -> None:
        reports.append(report)
        if not isinstance(report, ResultReport):
            assert first.stat().st_mtime_ns == written

    run_job(spec, watch)
    store = ObjectStore(spec.data_uri)
    resumed = store.local_path(artifacts.artifact_key(reports[-1].artifact))
    assert resumed.name == whole.name
    assert (resumed / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
    assert not spec.work_dir.exists()


@pytest.mark.compression
def test_layer_whose_integers_were_damaged_is_made_again(tmp_path, calibration_file):
    model = write_family(tmp_path / "m", "LlamaForCausalLM")
    recipe = {"rtn": {"bits": 4, "group_size": 32}, "layout": "packed"}
    whole = make(tmp_path / "undisturbed", model, recipe, calibration_file)
    spec = job(tmp_path / "home", model, recipe, calibration_file)

    def stop(report) -> None:
        if isinstance(report, ProgressReport) and report.completed == 1:
            raise InterruptedJobError

    with pytest.raises(InterruptedJobError):
        run_job(spec, stop)
    (integers,) = (spec.work_dir / "layers").glob("*.safetensors")
    integers.write_bytes(integers.read_bytes()[:-1] + b"\x7f")
    assert make(tmp_path / "home", model, recipe, calibration_file).name == whole.name


@pytest.fixture
def small_disk(tmp_path):
    """A file system that is really full after four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.compression
async def test_disk_that_fills_up_during_the_job_is_said_and_the_job_goes_on_later(
    small_disk, tmp_path, calibration_file
):
    model = write_checkpoint(tmp_path / "m")
    gptq = Recipe.parse({"gptq": {"bits": 4, "group_size": 32}}).to_proto()
    settings = {
        "ASSAY_COMPRESSION_DISK_RESERVE_BYTES": "0",
        "ASSAY_DATA_URI": f"file://{tmp_path / 'data'}",
    }
    home = small_disk / "home"
    with running_service(home, calibration_file, **settings) as service:
        # The check before the job sees room; another writer takes it while the job waits.
        ballast = small_disk / "ballast"
        created = await service.create(model, gptq, calibration=small_calibration())
        ballast.write_bytes(b"0" * (free_bytes(small_disk) - (200 << 10)))
        failed = await service.finish(created.meta.id)
        assert failed.meta.state == common_pb2.STATE_FAILED
        assert failed.meta.error.reason == "DISK_FULL", failed.meta.error
        assert not list((tmp_path / "data").glob("artifacts/*"))
        ballast.unlink()
        made = await service.make(model, gptq, calibration=small_calibration())
        assert made.meta.id == created.meta.id
        assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
        assert not list(home.glob("work/compression/*/files"))


@pytest.mark.compression
def test_worker_reports_a_disk_that_filled_up_under_it(small_disk, tmp_path, calibration_file):
    model = write_checkpoint(tmp_path / "m")
    recipe = {"rtn": {"bits": 4, "group_size": 32}, "layout": "packed"}
    spec = job(small_disk / "home", model, recipe, calibration_file)
    order = tmp_path / "job.json"
    order.write_text(spec.model_dump_json())
    # Room for the copy of the checkpoint, and for no packed one beside it.
    (small_disk / "ballast").write_bytes(b"0" * (free_bytes(small_disk) - (700 << 10)))
    with (tmp_path / "reports").open("w+b") as reports:
        assert run(order, reports.fileno()) == 1
        reports.seek(0)
        last = parse_report(reports.readlines()[-1])
    assert isinstance(last, ErrorReport)
    assert last.error["reason"] == "DISK_FULL"
    (small_disk / "ballast").unlink()
    resumed = make(small_disk / "home", model, recipe, calibration_file)
    assert resumed.name == make(tmp_path / "other", model, recipe, calibration_file).name


def free_bytes(folder: Path) -> int:
    return psutil.disk_usage(str(folder)).free


def test_calibration_that_does_not_fit_into_memory_is_refused(
    tmp_path, calibration_file, checkpoint, monkeypatch
):
    little = SimpleNamespace(available=64 << 20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with pytest.raises(ResourceExhausted) as caught:
        job(tmp_path, checkpoint, {"gptq": {"bits": 4, "group_size": 32}}, calibration_file)
    assert (caught.value.reason, caught.value.field) == ("MEMORY_FULL", "calibration.samples")
    # Methods without data hold one matrix at a time.
    job(tmp_path, checkpoint, {"rtn": {"bits": 4, "group_size": 32}}, calibration_file)


def one_direction(size: float) -> torch.Tensor:
    """Inputs that are multiples of one vector: second moments of rank one."""
    steps = torch.randn(100, 1, generator=generator(1))
    return steps @ torch.randn(1, 64, generator=generator(2)) * size


def test_singular_hessian_is_damped_and_gives_a_better_matrix_than_rounding():
    weight, inputs, spec = weights(1), seen(one_direction(1.0)), GridSpec(4, 16)
    result = quantize(weight, inputs, spec)
    assert not result.rounded_to_nearest
    plain = rtn(weight, spec, scale_dtype=torch.float32).weight
    assert inputs.output_error(weight, result.weight) < inputs.output_error(weight, plain)


@pytest.mark.parametrize("size", [1e3, 1e-20])
def test_hessian_that_cannot_be_inverted_makes_gptq_round_and_say_so(size):
    weight, spec = weights(1), GridSpec(4, 16)
    result = gptq(
        weight,
        seen(one_direction(size)),
        spec,
        act_order=False,
        damping=1e-12,
        scale_dtype=torch.float32,
    )
    assert result.rounded_to_nearest
    assert torch.equal(result.weight, rtn(weight, spec, scale_dtype=torch.float32).weight)


@pytest.mark.parametrize("size", [0.0, 1e3, 1e-20])
def test_sparsegpt_prunes_finite_weights_whatever_the_hessian(size):
    inputs = seen(one_direction(size))
    pruned = sparsegpt(weights(1), inputs, sparsity=0.5, pattern=None, damping=1e-12)
    assert pruned.isfinite().all()
    assert (pruned == 0).float().mean() >= 0.5
