"""What is checked before a study is accepted: whatever its evaluators can tell without a model."""

from __future__ import annotations

import asyncio

from assay_coordinator.domain.matrix import expand
from assay_coordinator.domain.progress import EngineFacts
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.peers import Peers
from assay_coordinator.wire import peers as wire
from assay_core.client import call
from assay_core.errors import AssayError, DataLoss, InvalidArgument, NotFound, Unimplemented
from assay_core.pb import evaluation_pb2, serving_pb2

# Stands for an artifact that does not exist yet: nothing is stored under it.
NO_ARTIFACT = "sha256:" + "0" * 64

_SECONDS = 20.0
_CALLERS_MISTAKES = (DataLoss, InvalidArgument, NotFound, Unimplemented)


async def admit(peers: Peers, project: str, spec: StudySpec) -> None:
    """Refuse a study that cannot run: something it names is unknown, or its pack is not whole.

    A service that is away refuses nothing: the study waits for it, and finds out then.

    Raises:
        AssayError: What the first such service says, with file and row of a broken pack; the
            dimension is in the metadata.
    """
    check_gate(spec)
    for dimension in spec.dimensions:
        peers.evaluator(dimension)
    for endpoint in dict.fromkeys(v.model.endpoint for v in expand(spec) if v.model.endpoint):
        try:
            await described_endpoint(peers, project, endpoint)
        except AssayError as error:
            if isinstance(error, _CALLERS_MISTAKES):
                raise
    await asyncio.gather(*(_admit(peers, spec, dimension) for dimension in spec.dimensions))


def check_gate(spec: StudySpec) -> None:
    """Refuse a gate that asks for a dimension which the study does not evaluate.

    Raises:
        InvalidArgument: Names the rule, or the weight of the composite.
    """
    gate = spec.gate
    if gate is None:
        return
    weights = gate.composite.weights if gate.composite is not None else {}
    named = [
        *((f"spec.gate.rules[{i}].dimension", rule.dimension) for i, rule in enumerate(gate.rules)),
        *((f"spec.gate.composite.weights.{name}", name) for name in weights),
    ]
    for field, dimension in named:
        if dimension not in spec.dimensions:
            raise InvalidArgument.of(
                field,
                f"names {dimension!r}, which the study does not evaluate",
                remedy=f"use one of {', '.join(spec.dimensions)}, or add it to `dimensions`",
                reason="GATE_WITHOUT_DIMENSION",
            )


async def described_endpoint(
    peers: Peers, project: str, endpoint: str
) -> serving_pb2.DescribeEngineResponse:
    """What identifies the answers of an external endpoint.

    Raises:
        InvalidArgument: There is none of that name for the project.
    """
    request = wire.describe_request(project, endpoint=endpoint)
    try:
        return await call(peers.serving.DescribeEngine, request, timeout=_SECONDS)
    except NotFound as error:
        raise InvalidArgument.of(
            "spec.models",
            f"names the endpoint {endpoint!r}, which the serving service does not have for project "
            f"{project!r}",
            remedy=error.remedy or "ask the operator of the serving service to name it",
            reason="UNKNOWN_ENDPOINT",
        ) from None


async def _admit(peers: Peers, spec: StudySpec, dimension: str) -> None:
    evaluator = peers.evaluator(dimension)
    try:
        described = await call(
            evaluator.DescribeDimension, evaluation_pb2.DescribeDimensionRequest(), timeout=_SECONDS
        )
        _check_parsers(spec, described)
        request = evaluation_pb2.PlanEvaluationRequest(
            spec=wire.evaluation_spec(spec, dimension, NO_ARTIFACT, EngineFacts())
        )
        await call(evaluator.PlanEvaluation, request, timeout=_SECONDS)
    except AssayError as error:
        if isinstance(error, _CALLERS_MISTAKES):
            error.metadata = {**error.metadata, "dimension": dimension}
            raise


async def rows_there(peers: Peers, spec: StudySpec, dimension: str) -> int:
    """Rows of the largest scenario of a dimension, whatever the study's limit.

    Raises:
        AssayError: If the evaluator cannot say.
    """
    unlimited = spec.model_copy(update={"row_limit": 0})
    request = evaluation_pb2.PlanEvaluationRequest(
        spec=wire.evaluation_spec(unlimited, dimension, NO_ARTIFACT, EngineFacts())
    )
    plan = await call(peers.evaluator(dimension).PlanEvaluation, request, timeout=_SECONDS)
    return max((part.samples for part in plan.scenarios), default=0)


def _check_parsers(spec: StudySpec, described: evaluation_pb2.DescribeDimensionResponse) -> None:
    known = [parser.version for parser in described.parsers]
    unknown = [version for version in spec.parser_versions if version not in known]
    if unknown:
        raise InvalidArgument.of(
            "spec.parser_versions",
            f"names {unknown[0]!r}, which {described.dimension} does not have",
            remedy=f"choose from: {', '.join(known)}",
            reason="UNKNOWN_PARSER",
        )
