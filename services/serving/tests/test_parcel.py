"""What crosses processes: the same values at the other end, whatever the text, and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_serving.domain import (
    Answer,
    ChatMessage,
    ChatPrompt,
    Completion,
    Delta,
    EngineSpec,
    Failure,
    FailureKind,
    FinishReason,
    Item,
    ReplicaStatus,
    Sampling,
    TextPrompt,
    TokenLogprob,
    TokenPrompt,
)
from assay_serving.parcel import (
    open_answers,
    open_items,
    opened,
    pack,
    pack_answers,
    pack_items,
    typed,
)
from assay_serving.runtime import RaySettings

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(0, 2**31)
LOGPROBS = st.builds(
    TokenLogprob,
    NUMBERS,
    st.floats(-100, 0),
    TEXTS,
    st.lists(st.builds(TokenLogprob, NUMBERS, st.floats(-100, 0), TEXTS), max_size=2).map(tuple),
)
PROMPTS = st.one_of(
    st.builds(TokenPrompt, st.lists(NUMBERS).map(tuple)),
    st.builds(TextPrompt, TEXTS),
    st.builds(ChatPrompt, st.lists(st.builds(ChatMessage, TEXTS, TEXTS)).map(tuple)),
)
ITEMS = st.builds(
    Item,
    id=TEXTS,
    prompt=PROMPTS,
    sampling=st.builds(
        Sampling,
        temperature=st.floats(0, 2),
        max_tokens=st.none() | NUMBERS,
        stop=st.lists(TEXTS).map(tuple),
    ),
    indices=st.lists(NUMBERS).map(tuple),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stream=st.booleans(),
    echo=st.booleans(),
)
COMPLETIONS = st.builds(
    Completion,
    item_id=TEXTS,
    index=NUMBERS,
    text=TEXTS,
    finish_reason=st.sampled_from(FinishReason),
    prompt_tokens=NUMBERS,
    completion_tokens=NUMBERS,
    artifact_digest=TEXTS,
    prompt_digest=TEXTS,
    logprobs=st.lists(LOGPROBS, max_size=2).map(tuple),
)


@given(st.lists(ITEMS, max_size=4))
def test_a_batch_arrives_as_it_was(items: list[Item]) -> None:
    assert open_items(pack_items(items)) == items


@given(st.lists(COMPLETIONS, max_size=4))
def test_completions_arrive_as_they_were(completions: list[Answer]) -> None:
    assert open_answers(pack_answers(completions)) == completions


def test_pieces_of_a_completion_come_in_order_and_before_its_end() -> None:
    end = Completion("a", 0, "one two", FinishReason.STOP, 1, 2, "d", "p")
    first, second = Delta("a", 0, "one", 1), Delta("a", 0, " two", 1)
    failed = Failure("b", 0, FailureKind.OVERLENGTH, "too long", field="prompt")
    arrived = open_answers(pack_answers([first, failed, second, end]))
    assert arrived == [first, second, end, failed]


def test_values_between_the_gateway_and_rays_process_arrive_as_they_were(tmp_path: Path) -> None:
    spec = EngineSpec("auto", "auto", 0, replicas=2, target_ongoing_requests=1.5)
    assert typed(opened(pack(spec)), EngineSpec) == spec
    status = ReplicaStatus("r", None, ready=False, failure={"reason": "NO", "metadata": {}})
    assert typed(opened(pack([status])), list[ReplicaStatus]) == [status]
    counts = [3, Failure("", 0, FailureKind.INVALID_ITEM, "empty")]
    assert typed(opened(pack(counts)), list[int | Failure]) == counts
    settings = RaySettings(home=tmp_path, threads=4)
    assert RaySettings.of(opened(pack(settings.document()))) == settings


@pytest.mark.parametrize(
    "parcel",
    [
        pickle.dumps([1]),
        pack([{"id": 1}]),
        pack_answers([]),
        pack(
            [
                {"id": "a", "sampling": {}, "indices": [0], "seed": None}
                | dict.fromkeys(("stream", "echo"), False)
            ]
        ),
    ],
    ids=["a pickle", "another shape", "answers", "no prompt"],
)
def test_what_is_no_batch_is_refused(parcel: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        open_items(parcel)
