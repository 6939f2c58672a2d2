"""Samples with their text, page by page, for packs whose licence allows people to see them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from assay_core.errors import InvalidArgument, PermissionDenied
from assay_core.storage import ObjectStore
from assay_core.verdicts import Verdict
from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.dimension import Dimension, ParserVersion
from assay_evaluators.sdk.judging import Judge
from assay_evaluators.sdk.plan import Plan, PlannedScenario
from assay_evaluators.sdk.shards import OVERLENGTH, Completion, GenerationStore
from assay_evaluators.sdk.text_scores import TextScoreStore
from assay_evaluators.sdk.types import Sample

DEFAULT_SIZE = 20
MAX_SIZE = 100
"""Prompts with 32 demonstrations are long, and a message must stay below 4 MiB."""


@dataclass(frozen=True)
class Query:
    """Which examples.

    Attributes:
        scenario: Scenario; empty means all.
        sample_ids: Samples; empty means all.
        size: Most examples of the page; 0 means `DEFAULT_SIZE`.
        token: Token of the page before; empty means the first page.
    """

    scenario: str
    sample_ids: Collection[str]
    size: int
    token: str


@dataclass(frozen=True)
class Example:
    """A completion beside its prompt and its verdict."""

    sample: Sample
    completion: Completion
    verdict: Verdict
    value: float | None


@dataclass(frozen=True)
class Page:
    """Examples in plan order, and the token of the next page; empty at the end."""

    examples: tuple[Example, ...]
    next_token: str


def require_display(dimension: Dimension, pack: Pack) -> None:
    """Refuses texts that nobody is to be shown.

    Raises:
        PermissionDenied: If the dimension's rows hold personal data, or the pack says `deny`.
    """
    if not dimension.shows_texts:
        raise PermissionDenied(
            f"rows of {dimension.name} hold personal data, their texts are never shown",
            reason="DISPLAY_DENIED",
            remedy="read verdicts and scores; they hold no text",
        )
    if pack.manifest.display != "allow":
        raise PermissionDenied(
            "the data pack does not allow its texts to be shown",
            reason="DISPLAY_DENIED",
            remedy="set `display: allow` in pack.json if the licence of its texts allows it",
        )


def read_page(plan: Plan, store: ObjectStore, parser: ParserVersion, query: Query) -> Page:
    """Reads a page of examples. Blocks.

    Raises:
        InvalidArgument: An unknown scenario, or a token of no page.
        DataLoss: If a shard cannot be read.
    """
    names = [scenario.name for scenario in plan.scenarios]
    if query.scenario and query.scenario not in names:
        raise InvalidArgument.of(
            "scenario", f"{query.scenario!r} is not in the evaluation", remedy=", ".join(names)
        )
    size = min(query.size or DEFAULT_SIZE, MAX_SIZE)
    start = _position(query.token)
    examples: list[Example] = []
    for position, example in _examples(plan, store, parser, query):
        if position < start:
            continue
        if len(examples) == size:
            return Page(tuple(examples), str(position))
        examples.append(example)
    return Page(tuple(examples), "")


def _examples(
    plan: Plan, store: ObjectStore, parser: ParserVersion, query: Query
) -> Iterator[tuple[int, Example]]:
    """Examples with their position among all completions that the plan wants."""
    scorer = plan.dimension.default_metric.scorer
    wanted = frozenset(query.sample_ids)
    first = 0
    for scenario in plan.scenarios:
        if scenario.identity is not None and query.scenario in ("", scenario.name):
            digest = scenario.generation_digest
            scores = TextScoreStore(store, scorer, digest).read() if scorer else None
            judge = Judge(parser, plan.prompts, scores)
            for offset, sample, completion in _stored(scenario, store, wanted):
                if completion.finish_reason == OVERLENGTH:
                    example = Example(sample, completion, Verdict.OVERLENGTH, None)
                else:
                    outcome = judge(completion.text, sample, completion.completion_index)
                    example = Example(sample, completion, outcome.parsed.verdict, outcome.value)
                yield first + offset, example
        first += scenario.completions


def _stored(
    scenario: PlannedScenario, store: ObjectStore, wanted: frozenset[str]
) -> list[tuple[int, Sample, Completion]]:
    n = scenario.sampling.n
    order = {
        sample.id: position
        for position, sample in enumerate(scenario.samples)
        if not wanted or sample.id in wanted
    }
    found = [
        (order[completion.sample_id] * n + completion.completion_index, completion)
        for completion in GenerationStore(store, scenario.generation_digest).completions()
        if completion.sample_id in order and completion.completion_index < n
    ]
    found.sort(key=lambda entry: entry[0])
    return [(offset, scenario.samples[offset // n], completion) for offset, completion in found]


def _position(token: str) -> int:
    if token and not token.isdecimal():
        raise InvalidArgument.of(
            "options.page_token",
            "is not a token of this list",
            remedy="pass next_page_token of the page before, or leave it empty",
        )
    return int(token or 0)
