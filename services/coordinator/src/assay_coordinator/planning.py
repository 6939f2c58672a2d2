"""What a study would do and cost, without starting anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay_coordinator.admission import NO_ARTIFACT, check_gate, described_endpoint
from assay_coordinator.domain.matrix import PlannedVariant, expand
from assay_coordinator.domain.progress import EngineFacts
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.peers import Peers
from assay_coordinator.wire import peers as wire
from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.pb import common_pb2, compression_pb2, evaluation_pb2
from assay_core.recipes import Calibration, Recipe

_SECONDS = 60.0
# Text of a token and its share of a shard's columns, before compression.
_BYTES_PER_TOKEN = 6


@dataclass(frozen=True)
class DimensionPlan:
    """A dimension over all variants; `example` is the plan of the first one."""

    dimension: str
    example: evaluation_pb2.PlanEvaluationResponse | None
    problem: str = ""
    completions: int = 0
    completions_stored: int = 0
    completion_tokens: int = 0
    prompt_tokens: int = 0
    gaps: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        """Scenarios that run for no variant, or not for all, with the reason."""
        if self.problem or self.example is None:
            return [f"{self.dimension}: {self.problem}"]
        return list(self.gaps)


@dataclass(frozen=True)
class StudyPlan:
    """Variants with whether nothing is to be made of them, and what is left to generate."""

    variants: tuple[tuple[PlannedVariant, bool], ...]
    dimensions: tuple[DimensionPlan, ...]
    disk_bytes: int | None = None


async def plan_study(peers: Peers, project: str, spec: StudySpec) -> StudyPlan:
    """Ask every evaluator what it would do for every variant.

    Raises:
        AssayError: If the compression service cannot say what exists. An evaluator that cannot
            plan is a `problem` of its dimension.
    """
    check_gate(spec)
    planned = expand(spec)
    made = [variant for variant in planned if not variant.model.endpoint]
    artifacts = await _artifacts(peers, project, made) if made else {}
    subjects = await asyncio.gather(
        *(_subject(peers, project, variant, artifacts.get(variant.key)) for variant in planned)
    )
    dimensions = await asyncio.gather(
        *(_dimension(peers, spec, dimension, subjects) for dimension in spec.dimensions)
    )
    return StudyPlan(
        variants=tuple(
            (variant, variant.key in artifacts or bool(variant.model.endpoint))
            for variant in planned
        ),
        dimensions=tuple(dimensions),
        disk_bytes=_disk_bytes(made, artifacts, dimensions),
    )


def _disk_bytes(
    planned: Sequence[PlannedVariant],
    artifacts: Mapping[str, compression_pb2.Artifact],
    dimensions: Sequence[DimensionPlan],
) -> int | None:
    """Size of new artifacts (each as large as one of its model that exists) and completions."""
    sizes: dict[str, int] = {}
    for variant in planned:
        if variant.key in artifacts:
            size = artifacts[variant.key].bytes
            sizes[variant.model_name] = max(size, sizes.get(variant.model_name, 0))
    new = [variant for variant in planned if variant.key not in artifacts]
    if any(variant.model_name not in sizes for variant in new):
        return None
    tokens = sum(dimension.completion_tokens for dimension in dimensions)
    return sum(sizes[variant.model_name] for variant in new) + tokens * _BYTES_PER_TOKEN


async def _artifacts(
    peers: Peers, project: str, planned: Sequence[PlannedVariant]
) -> Mapping[str, compression_pb2.Artifact]:
    """Artifacts that exist, by key of the variant."""
    found: dict[tuple[str, str, str], compression_pb2.Artifact] = {}
    token = ""
    while True:
        options = common_pb2.ListOptions(
            page_size=1000, page_token=token, filter='state = "SUCCEEDED"'
        )
        request = compression_pb2.ListVariantsRequest(project=project, options=options)
        page = await call(peers.compression.ListVariants, request, timeout=_SECONDS)
        for variant in page.variants:
            key = _content(
                variant.model.uri,
                Recipe.from_proto(variant.recipe),
                Calibration.from_proto(variant.calibration),
            )
            found.setdefault(key, variant.artifact)
        token = page.next_page_token
        if not token:
            break
    keys = {v.key: _content(v.model.uri, v.recipe, v.calibration) for v in planned}
    return {name: found[key] for name, key in keys.items() if key in found}


def _content(uri: str, recipe: Recipe, calibration: Calibration) -> tuple[str, str, str]:
    data = calibration.model_dump_json() if recipe.needs_calibration else ""
    return uri, recipe.model_dump_json() + recipe.label(), data


async def _subject(
    peers: Peers,
    project: str,
    variant: PlannedVariant,
    artifact: compression_pb2.Artifact | None,
) -> tuple[str, EngineFacts]:
    if variant.model.endpoint:
        described = await described_endpoint(peers, project, variant.model.endpoint)
        return described.artifact_digest, wire.engine(described)
    if artifact is None:
        return NO_ARTIFACT, EngineFacts()
    request = wire.describe_request(project, artifact_uri=artifact.uri)
    described = await call(peers.serving.DescribeEngine, request, timeout=_SECONDS)
    return artifact.digest, wire.engine(described)


async def _dimension(
    peers: Peers, spec: StudySpec, dimension: str, subjects: Sequence[tuple[str, EngineFacts]]
) -> DimensionPlan:
    answers: dict[str, evaluation_pb2.PlanEvaluationResponse] = {}
    completions = stored = tokens = prompts = 0
    for digest, engine in subjects:
        try:
            if digest not in answers:
                request = evaluation_pb2.PlanEvaluationRequest(
                    spec=wire.evaluation_spec(spec, dimension, digest, engine)
                )
                plan = peers.evaluator(dimension).PlanEvaluation
                answers[digest] = await call(plan, request, timeout=_SECONDS)
        except AssayError as error:
            return DimensionPlan(dimension, None, error.text)
        answer = answers[digest]
        completions += answer.completions_missing
        stored += answer.completions_stored
        tokens += sum(part.completion_tokens for part in answer.scenarios)
        prompts += sum(part.prompt_tokens for part in answer.scenarios if part.completions_missing)
    gaps = (
        f"{dimension}/{part.scenario}: {part.missing_reason or 'no rows'}"
        for answer in answers.values()
        for part in answer.scenarios
        if not part.samples
    )
    return DimensionPlan(
        dimension,
        next(iter(answers.values())),
        gaps=tuple(dict.fromkeys(gaps)),
        completions=completions,
        completions_stored=stored,
        completion_tokens=tokens,
        prompt_tokens=prompts,
    )
