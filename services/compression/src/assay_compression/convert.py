"""Domain values to messages of `assay.compression.v1`, and checks that need the message itself."""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from assay_compression.artifacts import RunRecord
from assay_compression.catalog import METHOD_TEXTS
from assay_compression.jobs.spec import CalibrationSpec
from assay_compression.methods.registry import BACKENDS, backend_version
from assay_compression.variants import spec_of, status_of
from assay_core.errors import InvalidArgument
from assay_core.manifest import Manifest
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import METHODS, Calibration, Recipe
from assay_core.recipes.wire import LAYOUTS
from assay_core.resources import Record, meta_of


def refuse_unknown_fields(message: Message, field: str) -> None:
    """Refuses fields that this build does not know, here and in messages below.

    A server may ignore what it does not know where it only costs comfort. A recipe's parameter
    changes the weights: to ignore one would make another variant than was asked for.

    Raises:
        InvalidArgument: Names the message and the field's number.
    """
    unknown = UnknownFieldSet(message)
    if len(unknown):
        raise InvalidArgument.of(
            field,
            f"has field number {unknown[0].field_number}, which this server does not know",
            reason="UNKNOWN_RECIPE_FIELD",
            remedy="leave it out, or use a server of the version that has it (GetServerInfo)",
        )
    for descriptor, value in message.ListFields():
        if isinstance(value, Message):
            refuse_unknown_fields(value, f"{field}.{descriptor.name}")


def variant_message(
    record: Record, artifact: compression_pb2.Artifact | None, *, cache_hit: bool | None = None
) -> compression_pb2.Variant:
    """A variant as callers see it."""
    spec, status = spec_of(record), status_of(record)
    calibration = None
    if spec.calibration is not None:
        calibration = Calibration.parse(spec.calibration).to_proto()
    return compression_pb2.Variant(
        meta=meta_of(record),
        model=common_pb2.ModelRef(uri=spec.model_uri),
        model_digest=spec.model_digest,
        recipe=Recipe.parse(spec.recipe).to_proto(),
        calibration=calibration,
        label=spec.label,
        artifact=artifact,
        cache_hit=status.cache_hit if cache_hit is None else cache_hit,
    )


def artifact_message(
    uri: str,
    manifest: Manifest,
    weights: dict[str, Any],
    run: RunRecord | None,
) -> compression_pb2.Artifact:
    """An artifact from its manifest, its weights.json (or nothing) and its run.json."""
    known = manifest.identity
    message = compression_pb2.Artifact(
        uri=uri,
        digest=manifest.digest,
        parent_digest=known["parent_digest"] or manifest.digest,
        layout=LAYOUTS[known["layout"]],
        architecture=known["architecture"],
        bytes=manifest.total_bytes,
        parameters=known["parameters"],
        bits_per_weight=known["efficiency"]["bits_per_weight"],
        sparsity=known["sparsity"],
        tokenizer_digest=known["tokenizer_digest"],
        chat_template_digest=known["chat_template_digest"],
        efficiency=compression_pb2.EfficiencyFacts(
            decode_bytes_per_token=known["efficiency"]["decode_bytes_per_token"],
            flops_per_token=known["efficiency"]["flops_per_token"],
            packed_bytes=known["efficiency"]["packed_bytes"],
        ),
    )
    if run is not None:
        message.run.CopyFrom(
            compression_pb2.RunFacts(
                peak_memory_bytes=run.peak_memory_bytes, device=run.device, backend=run.backend
            )
        )
        message.run.wall_time.FromTimedelta(timedelta(seconds=run.wall_seconds))
    for name, record in weights.get("modules", {}).items():
        message.modules.append(_module_message(name, record))
    message.layers.extend(_layer_messages(weights.get("modules", {})))
    return message


def recipe_descriptions() -> list[compression_pb2.RecipeDescription]:
    """Every method of the contract, and whether this server runs it."""
    return [_describe(name) for name in METHOD_TEXTS]


def calibration_of(spec: CalibrationSpec, source: str) -> dict[str, Any]:
    """Canonical form of a calibration as the caller named it."""
    return Calibration(
        samples=spec.samples,
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        source=source,
    ).canonical()


def _describe(name: str) -> compression_pb2.RecipeDescription:
    text, backend = METHOD_TEXTS[name], BACKENDS[name]
    return compression_pb2.RecipeDescription(
        method=name,
        summary=text.summary,
        reference=text.reference,
        parameters=[
            compression_pb2.ParameterDescription(
                name=parameter.name,
                type=parameter.type,
                allowed=parameter.allowed,
                default_value=parameter.default,
                summary=parameter.summary,
            )
            for parameter in text.parameters
        ],
        backend=backend_version(name),
        available=not backend.unavailable,
        unavailable_reason=backend.unavailable,
        needs_calibration=METHODS[name].needs_calibration,
        resume=backend.resume,
        layouts=[LAYOUTS[layout] for layout in backend.layouts],
        other_backends=[
            compression_pb2.OtherBackend(name=other, reason=reason)
            for other, reason in backend.others
        ],
    )


def _layer_of(module: str) -> int:
    return int(next((part for part in module.split(".") if part.isdecimal()), "-1"))


def _module_message(name: str, record: dict[str, Any]) -> compression_pb2.ModuleStatistics:
    message = compression_pb2.ModuleStatistics(
        name=name,
        layer=_layer_of(name),
        relative_error=record["relative_error"],
        zero_fraction=record["zero_fraction"],
        histogram_edges=record["histogram_edges"],
        histogram_before=record["histogram_before"],
        histogram_after=record["histogram_after"],
        elements=record["elements"],
        zeros_per_block=record.get("zeros_per_block", []),
        rounded_to_nearest=record["rounded_to_nearest"],
    )
    if record["output_error"] is not None:
        message.output_error = record["output_error"]
    if (scales := record.get("scales")) is not None:
        message.scales.CopyFrom(compression_pb2.ScaleStatistics(**scales))
    return message


def _layer_messages(modules: dict[str, dict[str, Any]]) -> list[compression_pb2.LayerStatistics]:
    """Pools the modules of each layer; artifacts from before norms were kept have none."""
    layers: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for name, record in modules.items():
        if "norm" in record and _layer_of(name) >= 0:
            layers[_layer_of(name)].append(record)
    messages = []
    for layer, records in sorted(layers.items()):
        elements = sum(record["elements"] for record in records)
        zeros = sum(record["elements"] * record["zero_fraction"] for record in records)
        message = compression_pb2.LayerStatistics(
            layer=layer,
            relative_error=_pooled(records, "relative_error", "norm"),
            zero_fraction=zeros / elements,
        )
        if all(record["output_error"] is not None for record in records):
            message.output_error = _pooled(records, "output_error", "output_norm")
        messages.append(message)
    return messages


def _pooled(records: list[dict[str, Any]], error: str, norm: str) -> float:
    """Relative error of all records together: sqrt(sum (e n)^2 / sum n^2)."""
    whole = sum(record[norm] ** 2 for record in records)
    lost = sum((record[error] * record[norm]) ** 2 for record in records)
    return math.sqrt(lost / whole) if whole else 0.0
