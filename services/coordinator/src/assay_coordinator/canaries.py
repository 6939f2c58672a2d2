"""What callers can do with canaries: a study's life, and the naming of two variants that exist."""

from __future__ import annotations

from dataclasses import dataclass

from assay_coordinator.admission import admit, described_endpoint
from assay_coordinator.domain.canary import DIMENSION, CanaryLimits, CanarySpec, Load, Side
from assay_coordinator.domain.matrix import AS_SERVED, model_names
from assay_coordinator.domain.study import ENDPOINT_PREFIX, ModelSpec, PackSpec
from assay_coordinator.store import StudyRecord
from assay_coordinator.studies import Studies
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import Context
from assay_coordinator.workflows.runner import StudyRunner
from assay_core.auth import current_principal
from assay_core.client import call
from assay_core.errors import AssayError, FailedPrecondition, InvalidArgument, NotFound
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import Dense, Recipe

_STUDY_PREFIX = "study-"
_DIGEST_PREFIX = "sha256:"
_SECONDS = 30.0
_HOW = (
    "name it as STUDY:VARIANT (`assay study show`), by its variant id (`assay variants list`), by "
    "its artifact's digest, or as endpoint:NAME"
)


@dataclass(frozen=True)
class Asked:
    """A canary as a caller asks for it.

    Attributes:
        variant: Name of the variant; see `CanarySpec` in coordination.proto.
        reference: Name of what it is compared with.
        prompts_uri: The prompts.
        load: How they arrive.
        limits: What must hold.
        seed: Seed of arrivals, sampling and the choice of rows.
        row_limit: Most prompts; 0 means all.
    """

    variant: str
    reference: str
    prompts_uri: str
    load: Load
    limits: CanaryLimits
    seed: int
    row_limit: int


class Canaries(Studies):
    """Create, watch, stop, resume and read canaries.

    Args:
        context: Stores and peers, with the records of canaries.
        runner: Runs them.
        studies: Where variants are named by study.
    """

    def __init__(self, context: Context, runner: StudyRunner, studies: Studies) -> None:
        super().__init__(context, runner)
        self._studies = studies

    async def replay(self, project: str, request_id: str, asked: Asked) -> StudyRecord:
        """Create and start a canary; the same request id is the same canary.

        Raises:
            InvalidArgument: If a name is of no variant, or a prompt is broken (file and line).
            FailedPrecondition: If a variant has no artifact.
        """
        against = await self._side(project, asked.reference, "spec.reference")
        variant = await self._side(project, asked.variant, "spec.variant")
        if variant.key == against.key:
            variant = variant.model_copy(update={"key": f"{variant.key} (variant)"})
        spec = CanarySpec(
            name=f"{variant.key} against {against.key}"[:128],
            models=(against.model, variant.model),
            recipes=(Recipe(method=Dense()),),
            dimensions=(DIMENSION,),
            pack=PackSpec(uri=asked.prompts_uri),
            seed=asked.seed,
            row_limit=asked.row_limit,
            load=asked.load,
            limits=asked.limits,
            variant=variant,
            against=against,
        )
        await admit(self._context.peers, project, spec)
        return await self._create(project, request_id, spec)

    async def _side(self, project: str, name: str, field: str) -> Side:
        if name.startswith(ENDPOINT_PREFIX):
            return await self._endpoint(project, name)
        if name.startswith(_DIGEST_PREFIX):
            return await self._by_digest(project, name, field)
        if name.startswith(_STUDY_PREFIX) and ":" in name:
            return await self._of_study(project, name, field)
        return await self._by_id(name, field)

    async def _endpoint(self, project: str, name: str) -> Side:
        model = ModelSpec(uri=name)
        await described_endpoint(self._context.peers, project, model.endpoint)
        return Side(
            key=name, model_name=name, label=AS_SERVED, model=model, recipe=Recipe(method=Dense())
        )

    async def _of_study(self, project: str, name: str, field: str) -> Side:
        study_id, _, key = name.partition(":")
        try:
            await self._studies.check_visible(study_id)
        except NotFound:
            variant = None
        else:
            variant = await self._context.store.variant(study_id, key)
        if variant is None:
            raise _unknown(field, "names no variant of a study of yours")
        if variant.model_uri.startswith(ENDPOINT_PREFIX):
            return await self._endpoint(project, variant.model_uri)
        if not variant.variant_id:
            raise _no_artifact(field)
        return await self._by_id(variant.variant_id, field)

    async def _by_digest(self, project: str, digest: str, field: str) -> Side:
        request = compression_pb2.ListVariantsRequest(
            project=project,
            options=common_pb2.ListOptions(
                page_size=1, filter=f'artifact = "{digest}" AND state = "SUCCEEDED"'
            ),
        )
        found = await call(self._context.peers.compression.ListVariants, request, timeout=_SECONDS)
        if not found.variants:
            raise _unknown(field, f"is the digest of no artifact of project {project!r}")
        return await self._by_id(found.variants[0].meta.id, field)

    async def _by_id(self, variant_id: str, field: str) -> Side:
        get = compression_pb2.GetVariantRequest(id=variant_id)
        try:
            answer = await call(self._context.peers.compression.GetVariant, get, timeout=_SECONDS)
        except NotFound:
            raise _unknown(field, "names no variant") from None
        variant = answer.variant
        if not current_principal().may_see(variant.meta.project):
            raise _unknown(field, "names no variant")
        if wire.state_name(variant.meta.state) != "SUCCEEDED":
            raise _no_artifact(field)
        model = ModelSpec(uri=variant.model.uri, revision=variant.model.revision)
        (name,) = model_names([model])
        recipe, seed = Recipe.from_proto(variant.recipe), variant.calibration.seed
        return Side(
            key=f"{name}/{recipe.label()}/seed{seed}",
            model_name=name,
            label=recipe.label(),
            model=model,
            recipe=recipe,
            calibration_seed=seed,
            variant_id=variant.meta.id,
        )


def _unknown(field: str, problem: str) -> AssayError:
    return InvalidArgument.of(field, problem, remedy=_HOW, reason="UNKNOWN_VARIANT")


def _no_artifact(field: str) -> AssayError:
    return FailedPrecondition.of(
        field,
        "names a variant that has no artifact",
        remedy="wait until it is made, or make it again (`assay compress`)",
        reason="NO_ARTIFACT",
    )
