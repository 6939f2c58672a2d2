"""Protobuf to domain values and back."""

from __future__ import annotations

import pytest

from assay_core.errors import InvalidArgument
from assay_core.pb import serving_pb2 as pb
from assay_serving import convert
from assay_serving.domain import (
    ChatMessage,
    ChatPrompt,
    Completion,
    Failure,
    FailureKind,
    FinishReason,
    Sampling,
    TextPrompt,
    TokenLogprob,
    TokenPrompt,
)
from assay_serving.ray_paths import LONGEST, ray_directory


def item(**fields) -> pb.GenerateItem:
    return pb.GenerateItem(**({"id": "i", "text": "x"} | fields))


def test_absent_fields_take_the_contracts_defaults():
    (found,) = convert.items([item()])
    assert found.sampling == Sampling(
        temperature=1.0, top_p=1.0, top_k=0, max_tokens=16, stop=(), logprobs=0
    )
    assert (found.indices, found.seed) == ((0,), None)


def test_a_temperature_of_zero_and_a_seed_of_zero_are_not_absent():
    (found,) = convert.items([item(sampling=pb.SamplingParameters(temperature=0.0), seed=0)])
    assert (found.sampling.temperature, found.seed) == (0.0, 0)


def test_completion_indices_win_over_n():
    (found,) = convert.items([item(n=25, completion_indices=[24, 3])])
    assert found.indices == (24, 3)
    (found,) = convert.items([item(n=3)])
    assert found.indices == (0, 1, 2)


def test_a_prompt_is_token_ids_text_or_chat():
    turns = pb.ChatMessages(messages=[pb.ChatMessage(role="user", content="x", name="n")])
    messages = [
        pb.GenerateItem(id="a", text="x"),
        pb.GenerateItem(id="b", tokens=pb.TokenIds(ids=[1, 2])),
        pb.GenerateItem(id="c", chat=turns),
    ]
    assert [found.prompt for found in convert.items(messages)] == [
        TextPrompt("x"),
        TokenPrompt((1, 2)),
        ChatPrompt((ChatMessage("user", "x", "n"),)),
    ]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([item(), item()], "items[1].id"),
        ([item(completion_indices=[1, 1])], "items[0].completion_indices"),
        ([item(sampling=pb.SamplingParameters(stop=[""]))], "items[0].sampling.stop"),
    ],
)
def test_fields_that_contradict_each_other_are_refused_by_name(messages, field):
    with pytest.raises(InvalidArgument) as refusal:
        convert.items(messages)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("kind", "finish", "code", "retryable"),
    [
        (FailureKind.OVERLENGTH, pb.FINISH_REASON_OVERLENGTH, "OUT_OF_RANGE", False),
        (FailureKind.INVALID_ITEM, pb.FINISH_REASON_ERROR, "INVALID_ARGUMENT", False),
        (FailureKind.ENGINE_REFUSED, pb.FINISH_REASON_ERROR, "UNAVAILABLE", True),
    ],
)
def test_a_failed_item_is_a_completion_with_a_canonical_error(kind, finish, code, retryable):
    failure = Failure("i", 2, kind, "prompt is wrong", field="prompt", remedy="mend it")
    ((message,),) = convert.completions([failure])
    assert (message.id, message.index, message.finish_reason) == ("i", 2, finish)
    assert (message.error.code, message.error.retryable) == (code, retryable)
    assert message.error.message == "prompt is wrong"


def test_answers_are_split_below_the_message_limit():
    text = "x" * 300_000
    results = [
        Completion(f"i{k}", 0, text, FinishReason.STOP, 1, 1, "sha256:a", "sha256:p")
        for k in range(20)
    ]
    groups = list(convert.completions(results))
    assert [message.id for group in groups for message in group] == [f"i{k}" for k in range(20)]
    assert all(pb.GenerateResponse(completions=group).ByteSize() < 2**22 for group in groups)
    assert len(groups) > 1


def test_a_completion_that_fits_no_message_fails_by_its_log_probabilities():
    many = tuple(TokenLogprob(7, -1.0, "x" * 100) for _ in range(40_000))
    large = Completion("big", 1, "t", FinishReason.STOP, 9, 1, "sha256:a", "sha256:p", many)
    small = Completion("ok", 0, "t", FinishReason.STOP, 9, 1, "sha256:a", "sha256:p")
    ((failed, fine),) = convert.completions([large, small])
    assert (failed.id, failed.index, failed.prompt_tokens) == ("big", 1, 9)
    assert (failed.error.code, failed.error.field) == ("INVALID_ARGUMENT", "sampling.logprobs")
    assert fine.text == "t"


def test_no_repr_shows_text():
    shown = repr(convert.items([item(text="secret")]))
    answer = Completion("i", 0, "secret", FinishReason.STOP, 1, 1, "sha256:a", "sha256:p")
    assert "secret" not in shown + repr(answer)


def test_rays_folder_is_short_enough_for_sockets_and_private(tmp_path):
    home = tmp_path / ("long" * 20)
    directory = ray_directory(home)
    assert len(str(directory)) <= LONGEST
    assert directory == ray_directory(home)
    assert directory.stat().st_mode & 0o077 == 0
