"""Options of the engine that a model runs in, the same for every command that loads one.

Limits are those of serving.proto. What an engine can do depends on the model and on the machine, so
the serving service decides that, and says which option it refuses.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import typer

from assay_cli.app import with_signature
from assay_core.pb import serving_pb2

_PANEL = "Engine options (default: the server's settings; others are another engine)"


class Dtype(StrEnum):
    """Data types of weights and activations."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class CacheDtype(StrEnum):
    """Data types of the KV cache."""

    AUTO = "auto"
    FP8 = "fp8"


def _option(kind: Any, help_text: str, **limits: Any) -> Any:
    return Annotated[
        kind | None,
        typer.Option(help=help_text, rich_help_panel=_PANEL, show_default=False, **limits),
    ]


ENGINE_OPTIONS: dict[str, Any] = {
    "dtype": _option(Dtype, "Data type of weights and activations."),
    "kv_cache_dtype": _option(CacheDtype, "Data type of the KV cache."),
    "kv_cache_gib": _option(int, "KV cache of a replica in GiB.", min=1, max=4096),
    "max_model_len": _option(int, "Longest prompt plus completion in tokens.", min=1),
    "replicas": _option(int, "Replicas; with --max-replicas the fewest.", min=1, max=256),
    "max_replicas": _option(int, "Most replicas: scales by load.", min=1, max=256),
    "target_ongoing_requests": _option(
        float, "Batches in flight per replica that scaling aims at.", min=0.01, max=10_000
    ),
    "tensor_parallel_size": _option(int, "GPUs of a replica.", min=1, max=64),
    "gpu_share": _option(float, "Share of a GPU that a replica takes.", min=0.01, max=1),
}
"""The fields of `EngineOptions` as options; what is not given is left to the server."""

CommandFunction = Callable[..., Coroutine[Any, Any, None]]


def with_engine_options(function: CommandFunction) -> CommandFunction:
    """Gives a command the engine options, and its function one argument `engine` made of them."""

    @functools.wraps(function)
    async def run(session: Any, **values: Any) -> None:
        given = {name: values.pop(name) for name in ENGINE_OPTIONS}
        await function(session, engine=serving_pb2.EngineOptions(**given), **values)

    hints = get_type_hints(function, include_extras=True)
    own = [
        each.replace(annotation=hints[each.name])
        for each in inspect.signature(function).parameters.values()
        if each.name != "engine"
    ]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in ENGINE_OPTIONS.items()
    ]
    changed: CommandFunction = with_signature(run, [*own, *options])
    return changed
