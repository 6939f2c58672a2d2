"""The texts of flipped completions, asked of the evaluators for one download and kept nowhere.

A report is stored without texts. Who downloads it with examples gets a file that holds them; the
evaluators decide what may be shown (the pack's `display`, and never privacy).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from assay_coordinator.domain.flips import Flip, FlipGroup, FlipTexts
from assay_coordinator.domain.progress import EvaluationStatus
from assay_coordinator.peers import Peers
from assay_coordinator.report.model import ReportData
from assay_core.client import call
from assay_core.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from assay_core.pb import common_pb2, evaluation_pb2

if TYPE_CHECKING:
    from assay.evaluation.v1.evaluation_pb2_grpc import EvaluationServiceAsyncStub as Stub

_SECONDS = 120.0
_PAGE = 100
_IDS = 256  # sample ids of one request
_LONGEST = 2000  # characters of a text
_AT_ONCE = 4

_Key = tuple[str, str, int]  # scenario, sample, completion


async def with_examples(
    peers: Peers, data: ReportData, evaluations: Sequence[EvaluationStatus]
) -> ReportData:
    """A report with prompt and both completions of every flip that it lists.

    Where an evaluator does not show texts, or no longer has them, the group says why.

    Raises:
        AssayError: If an evaluator is away or breaks.
    """
    ids = {(e.variant_key, e.dimension): e.evaluation_id for e in evaluations}
    by_dimension: dict[str, list[FlipGroup]] = defaultdict(list)
    for group in data.flips:
        by_dimension[group.dimension].append(group)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(dimension: str, groups: Sequence[FlipGroup]) -> list[FlipGroup]:
        async with slots:
            return await _of_dimension(peers.evaluator(dimension), ids, groups)

    done = await asyncio.gather(*(one(*item) for item in by_dimension.items()))
    filled = {(g.variant_key, g.dimension): g for groups in done for g in groups}
    flips = tuple(filled[group.variant_key, group.dimension] for group in data.flips)
    return data.model_copy(update={"flips": flips})


async def _of_dimension(
    stub: Stub,
    ids: Mapping[tuple[str, str], str],
    groups: Sequence[FlipGroup],
) -> list[FlipGroup]:
    """Fills the groups of one dimension; a reference is asked once for all of them."""
    wanted: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for group in groups:
        samples = dict.fromkeys(flip.sample_id for flip in group.flips)
        for key in (group.variant_key, group.reference_key):
            wanted[key, group.dimension] |= samples
    try:
        found = {
            side: await _examples(stub, ids.get(side, ""), list(samples))
            for side, samples in wanted.items()
            if samples
        }
    except (PermissionDenied, NotFound, FailedPrecondition, InvalidArgument) as error:
        return [group.model_copy(update={"texts_withheld": error.message}) for group in groups]
    return [
        group.model_copy(
            update={
                "flips": tuple(
                    _with_texts(
                        flip,
                        found[group.variant_key, group.dimension],
                        found[group.reference_key, group.dimension],
                    )
                    for flip in group.flips
                )
            }
        )
        for group in groups
    ]


def _with_texts(
    flip: Flip,
    ours: Mapping[_Key, evaluation_pb2.Example],
    theirs: Mapping[_Key, evaluation_pb2.Example],
) -> Flip:
    key = (flip.scenario, flip.sample_id, flip.completion_index)
    if key not in ours or key not in theirs:
        return flip
    texts = FlipTexts(
        prompt=_tail(_prompt(ours[key])),
        completion=_head(ours[key].text),
        reference_completion=_head(theirs[key].text),
    )
    return flip.model_copy(update={"texts": texts})


async def _examples(
    stub: Stub, evaluation: str, samples: Sequence[str]
) -> dict[_Key, evaluation_pb2.Example]:
    found: dict[_Key, evaluation_pb2.Example] = {}
    for some in _chunks(samples):
        token = ""
        while True:
            request = evaluation_pb2.ListExamplesRequest(
                id=evaluation,
                sample_ids=some,
                options=common_pb2.ListOptions(page_size=_PAGE, page_token=token),
            )
            page = await call(stub.ListExamples, request, timeout=_SECONDS)
            for each in page.examples:
                found[each.scenario, each.sample_id, each.completion_index] = each
            token = page.next_page_token
            if not token:
                break
    return found


def _chunks(samples: Sequence[str]) -> Iterable[Sequence[str]]:
    return (samples[start : start + _IDS] for start in range(0, len(samples), _IDS))


def _prompt(example: evaluation_pb2.Example) -> str:
    turns = "\n\n".join(f"{turn.role}: {turn.content}" for turn in example.messages)
    return turns or example.prompt


def _tail(text: str) -> str:
    """The end of a prompt: the question stands after the demonstrations."""
    return text if len(text) <= _LONGEST else f"\N{HORIZONTAL ELLIPSIS}{text[-_LONGEST:]}"


def _head(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\N{HORIZONTAL ELLIPSIS}"
