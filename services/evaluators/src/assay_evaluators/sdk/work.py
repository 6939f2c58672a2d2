"""What is still to be generated of a plan, and how it is packed into messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from assay_core.pb import serving_pb2
from assay_core.storage import ObjectStore
from assay_evaluators.sdk.plan import Plan, PlannedScenario
from assay_evaluators.sdk.shards import GenerationStore
from assay_evaluators.sdk.types import Sample, base_seed

MAX_ITEMS = 256
MAX_BYTES = 1_000_000
"""A message stays well below the 4 MiB limit, also with 32 demonstrations an item."""


@dataclass(frozen=True)
class WorkItem:
    """A sample and the completions it lacks.

    Attributes:
        id: Unique in the stream.
        scenario: Position of the scenario in the plan.
        sample: The sample.
        indices: Missing completion indices, sorted.
    """

    id: str
    scenario: int
    sample: Sample
    indices: tuple[int, ...]


def missing_work(plan: Plan, store: ObjectStore) -> list[WorkItem]:
    """Every missing completion of a plan, in plan order. Blocks: reads key columns of shards."""
    items: list[WorkItem] = []
    for position, scenario in enumerate(plan.scenarios):
        if scenario.identity is None:
            continue
        stored = GenerationStore(store, scenario.generation_digest).stored()
        wanted = range(scenario.sampling.n)
        for sample in scenario.samples:
            have = stored.get(sample.id, ())
            indices = tuple(k for k in wanted if k not in have)
            if indices:
                items.append(WorkItem(f"{position}:{len(items)}", position, sample, indices))
    return items


def count_missing(plan: Plan, store: ObjectStore) -> dict[str, int]:
    """Missing completions by scenario. Blocks."""
    missing = dict.fromkeys((scenario.name for scenario in plan.scenarios), 0)
    for item in missing_work(plan, store):
        missing[item.sample.scenario] += len(item.indices)
    return missing


def to_request_item(
    item: WorkItem, scenario: PlannedScenario, seed: int
) -> serving_pb2.GenerateItem:
    """The item as it travels."""
    sampling = scenario.sampling
    return serving_pb2.GenerateItem(
        id=item.id,
        **_prompt(item.sample),
        sampling=serving_pb2.SamplingParameters(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=sampling.max_tokens,
            stop=sampling.stop,
            logprobs=sampling.logprobs,
            prompt_logprobs=sampling.prompt_logprobs,
        ),
        seed=base_seed(seed, scenario.name, item.sample.id),
        completion_indices=item.indices,
    )


def _prompt(sample: Sample) -> dict[str, Any]:
    if sample.text is not None:
        return {"text": sample.text}
    messages = [
        serving_pb2.ChatMessage(role=message.role, content=message.content)
        for message in sample.messages
    ]
    return {"chat": serving_pb2.ChatMessages(messages=messages)}


def batches(
    items: Iterable[tuple[WorkItem, serving_pb2.GenerateItem]], max_completions: int
) -> Iterator[list[tuple[WorkItem, serving_pb2.GenerateItem]]]:
    """Packs items into messages of at most 256 items, 1 MB and `max_completions` completions.

    An item that alone exceeds a bound travels alone.
    """
    batch: list[tuple[WorkItem, serving_pb2.GenerateItem]] = []
    size = completions = 0
    for work, item in items:
        bytes_ = item.ByteSize()
        full = (
            len(batch) == MAX_ITEMS
            or size + bytes_ > MAX_BYTES
            or completions + len(work.indices) > max_completions
        )
        if batch and full:
            yield batch
            batch, size, completions = [], 0, 0
        batch.append((work, item))
        size += bytes_
        completions += len(work.indices)
    if batch:
        yield batch
