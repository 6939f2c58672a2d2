"""A study's specification as a message, and back."""

from __future__ import annotations

from pydantic import ValidationError

from assay_coordinator.domain.study import (
    DEFAULT_PARSER,
    EarlyStopping,
    ModelSpec,
    PackSpec,
    StudySpec,
)
from assay_coordinator.wire.results import policy_from_message, policy_message
from assay_core.field_errors import invalid_argument
from assay_core.pb import common_pb2, coordination_pb2, evaluation_pb2
from assay_core.recipes import Calibration, Recipe


def spec_from_message(message: coordination_pb2.StudySpec) -> StudySpec:
    """A specification with its defaults filled in.

    Raises:
        InvalidArgument: Names the field at fault.
    """
    recipes = [
        Recipe.from_proto(recipe, f"spec.recipes[{index}]")
        for index, recipe in enumerate(message.recipes)
    ]
    calibration = Calibration.from_proto(
        message.calibration if message.HasField("calibration") else None, "spec.calibration"
    )
    gate = policy_from_message(message.gate, "spec.gate") if message.HasField("gate") else None
    try:
        return StudySpec(
            name=message.name,
            models=tuple(
                ModelSpec(
                    uri=model.uri,
                    revision=model.revision,
                    digest=model.digest,
                    trust_remote_code=model.trust_remote_code,
                )
                for model in message.models
            ),
            recipes=tuple(dict.fromkeys(recipes)),
            calibration=calibration.model_copy(update={"seed": 0}),
            calibration_seeds=tuple(message.calibration_seeds) or (0,),
            dimensions=tuple(message.dimensions),
            pack=PackSpec(uri=message.pack.uri, digest=message.pack.digest),
            prompt_profile=message.prompt_profile or "standard",
            paper_template=message.paper_template,
            sampling_profile=message.sampling_profile or "standard",
            parser_versions=tuple(message.parser_versions) or (DEFAULT_PARSER,),
            row_limit=message.row_limit,
            seed=message.seed,
            gate=gate,
            early_stopping=_early_stopping(message),
            reference=message.reference,
            profile=message.profile,
            priority=message.priority,
        )
    except ValidationError as error:
        raise invalid_argument(error, "spec", StudySpec, reason="INVALID_STUDY") from None


def _early_stopping(message: coordination_pb2.StudySpec) -> EarlyStopping | None:
    if not message.HasField("early_stopping"):
        return None
    defaults = EarlyStopping()
    return EarlyStopping(
        first_rows=message.early_stopping.first_rows or defaults.first_rows,
        growth=message.early_stopping.growth or defaults.growth,
    )


def spec_message(spec: StudySpec) -> coordination_pb2.StudySpec:
    """Inverse of `spec_from_message`, with every default written out."""
    return coordination_pb2.StudySpec(
        name=spec.name,
        models=[common_pb2.ModelRef(**model.model_dump()) for model in spec.models],
        recipes=[recipe.to_proto() for recipe in spec.recipes],
        calibration=spec.calibration.to_proto(),
        calibration_seeds=spec.calibration_seeds,
        dimensions=spec.dimensions,
        pack=evaluation_pb2.PackRef(**spec.pack.model_dump()),
        prompt_profile=spec.prompt_profile,
        paper_template=spec.paper_template,
        sampling_profile=spec.sampling_profile,
        parser_versions=spec.parser_versions,
        row_limit=spec.row_limit,
        seed=spec.seed,
        gate=policy_message(spec.gate) if spec.gate else None,
        early_stopping=coordination_pb2.EarlyStopping(**spec.early_stopping.model_dump())
        if spec.early_stopping
        else None,
        reference=spec.reference,
        profile=spec.profile,
        priority=spec.priority,
    )
