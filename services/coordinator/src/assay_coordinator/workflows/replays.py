"""Step: what changed between the two replays of a canary, pair by pair."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from assay_coordinator.canary_gate import judged
from assay_coordinator.domain.canary import DIMENSION, CanaryFacts, CanarySpec
from assay_coordinator.domain.states import ACTIVE
from assay_coordinator.peers import patiently
from assay_coordinator.statistics.replays import Pair, Replayed, measures, side_facts
from assay_coordinator.statistics.request import Options
from assay_coordinator.workflows.comparing import confounders
from assay_coordinator.workflows.context import Context, Run
from assay_core.client import stream
from assay_core.digest import seed_of
from assay_core.pb import evaluation_pb2

_SECONDS = 600.0
_SAME_WEIGHTS = (
    "both sides are the same weights, which are not changed in between: the second side may find "
    "the prompts of the first in the prefix cache, so that their latencies do not compare"
)


async def compare_replays(context: Context, run: Run, spec: CanarySpec) -> None:
    """Reads the pairs from the evaluator and writes down what changed.

    Does nothing where one side was not evaluated: the study's end says so.

    Raises:
        AssayError: If the evaluator cannot pair them.
    """
    store = context.store
    ours = await store.evaluation(run.study_id, spec.variant.key, DIMENSION)
    theirs = await store.evaluation(run.study_id, spec.against.key, DIMENSION)
    if ours is None or theirs is None or {ours.state, theirs.state} != {"SUCCEEDED"}:
        return
    request = evaluation_pb2.PairReplaysRequest(
        id=ours.evaluation_id, reference_id=theirs.evaluation_id
    )

    async def read() -> list[Pair]:
        answers = stream(context.peers.evaluator(DIMENSION).PairReplays, request, timeout=_SECONDS)
        return [_pair(each) async for answer in answers for each in answer.pairs]

    patience = context.settings.peer_patience_seconds
    pairs = await patiently(read, seconds=patience, what=f"evaluator {DIMENSION}")
    variants = {variant.key: variant for variant in await store.variants(run.study_id)}
    sides = variants[spec.variant.key], variants[spec.against.key]
    digests = {side.artifact.digest for side in sides if side.artifact is not None}
    notes = [*confounders(sides[0].engine, sides[1].engine)]
    if len(digests) == 1:
        notes.append(_SAME_WEIGHTS)
    facts = await asyncio.to_thread(_facts, spec, pairs, _options(context, request), notes)
    await context.records.update(run.study_id, expect=ACTIVE, canary=facts)


def _facts(
    spec: CanarySpec, pairs: Sequence[Pair], options: Options, notes: Sequence[str]
) -> CanaryFacts:
    found = measures(pairs, spec.load.max_tokens, options)
    if _SAME_WEIGHTS in notes:
        found = [each for each in found if each.name != "latency_shift"]
    variant = side_facts(spec.variant.key, [pair.variant for pair in pairs])
    reference = side_facts(spec.against.key, [pair.reference for pair in pairs])
    interrupted = [side.key for side in (variant, reference) if side.segments > 1]
    more = [
        f"{key} was interrupted and resumed: each part began warm-up anew" for key in interrupted
    ]
    return CanaryFacts(
        variant=variant,
        reference=reference,
        measures=judged(found, spec.limits),
        load=spec.load.sentence,
        notes=(*notes, *more),
    )


def _options(context: Context, request: evaluation_pb2.PairReplaysRequest) -> Options:
    return Options(
        replicates=context.settings.bootstrap_replicates,
        seed=seed_of([request.id, request.reference_id]),
    )


def _pair(message: evaluation_pb2.ReplayPair) -> Pair:
    return Pair(
        cluster_id=message.cluster_id,
        same=message.same,
        similarity=message.similarity,
        variant=_replayed(message.variant),
        reference=_replayed(message.reference),
    )


def _replayed(message: evaluation_pb2.ReplayedPrompt) -> Replayed:
    return Replayed(
        verdict=message.verdict,
        toxicity=message.toxicity if message.HasField("toxicity") else None,
        completion_tokens=message.completion_tokens,
        segment=message.segment,
        arrival=message.arrival_seconds,
        latency=message.latency_seconds,
    )
