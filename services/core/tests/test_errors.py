"""An error arrives as it was raised, in every form it travels in, and always fits a trailer."""

import base64
import json
import urllib.parse

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import Metadata
from hypothesis import given
from hypothesis import strategies as st

from assay_core import errors
from assay_core.errors import (
    AssayError,
    FieldViolation,
    Internal,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    from_document,
    from_proto,
    from_rpc_error,
    from_status,
    is_retryable,
    to_document,
    to_proto,
    to_status,
)

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, AssayError) and value is not AssayError
]

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
keys = st.from_regex(r"[a-z][a-zA-Z0-9]{0,20}", fullmatch=True).filter(
    lambda key: key not in ("remedy", "field")
)
any_error = st.builds(
    lambda cls, message, options: cls(message, **options),
    st.sampled_from(CLASSES),
    words,
    st.fixed_dictionaries(
        {},
        optional={
            "reason": st.from_regex(r"[A-Z][A-Z0-9_]{0,30}", fullmatch=True),
            "field": words,
            "remedy": words,
            "metadata": st.dictionaries(keys, words, max_size=2),
            "retry_after": st.integers(0, 10_000).map(lambda ms: ms / 1000),
            "resource": words,
            "violations": st.lists(st.builds(FieldViolation, words, words), max_size=4),
        },
    ),
)


def test_every_canonical_failure_has_one_class() -> None:
    codes = {cls.code for cls in CLASSES}
    assert len(codes) == len(CLASSES)
    assert set(grpc.StatusCode) - codes == {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}


@given(any_error)
def test_a_status_reads_back_as_the_same_error(error: AssayError) -> None:
    wire = to_status(error).SerializeToString()
    assert from_status(status_pb2.Status.FromString(wire)) == error


@given(any_error)
def test_a_document_reads_back_as_the_same_error(error: AssayError) -> None:
    assert from_document(json.loads(json.dumps(to_document(error)))) == error


@given(any_error)
def test_a_stored_message_keeps_what_it_has_room_for(error: AssayError) -> None:
    back = from_proto(to_proto(error))
    assert type(back) is type(error)
    assert (back.reason, back.message, back.field, back.remedy, back.metadata) == (
        error.reason,
        error.message,
        error.field,
        error.remedy,
        error.metadata,
    )


@pytest.mark.parametrize("character", ["x", "%", "ü", "\U0001f600", "\ud800"])
def test_a_status_always_fits_into_trailers(character: str) -> None:
    long = character * 20_000
    error = InvalidArgument(
        long,
        reason=long,
        remedy=long,
        resource=f"{long}/{long}",
        retry_after=1,
        metadata={f"{index}{long}": long for index in range(50)},
        violations=[FieldViolation(long, long) for _ in range(50)],
    )
    status = to_status(error)
    message = len(urllib.parse.quote(status.message))
    details = len(base64.b64encode(status.SerializeToString()))
    assert message + details < 8 * 1024 - 200  # The rest of the trailers is short.
    assert from_status(status).violations


def test_the_form_of_one_field() -> None:
    error = InvalidArgument.of("recipe.gptq.bits", "is 5", remedy="use 2, 3, 4 or 8")
    assert str(error) == "recipe.gptq.bits is 5: use 2, 3, 4 or 8"
    assert error.field == "recipe.gptq.bits"
    status = to_status(error)
    bad, info = error_details_pb2.BadRequest(), error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert any(detail.Unpack(info) for detail in status.details)
    assert bad.field_violations[0].field == "recipe.gptq.bits"
    assert (info.domain, info.reason) == ("assay", "INVALID_ARGUMENT")


def test_a_full_quota_is_a_quota_failure() -> None:
    status = to_status(ResourceExhausted("the queue is full", field="queue", retry_after=3))
    assert [detail.type_url.rpartition(".")[2] for detail in status.details] == [
        "ErrorInfo",
        "QuotaFailure",
        "RetryInfo",
    ]


def test_a_foreign_status_is_understood_as_far_as_it_goes() -> None:
    error = from_status(status_pb2.Status(code=5, message="nope"))
    assert type(error) is errors.NotFound
    assert error.message == "nope"
    assert from_status(status_pb2.Status(code=99)).code is grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_survive_being_raised(cls: type[AssayError]) -> None:
    with pytest.raises(cls, match="went wrong: do this"):
        raise cls("went wrong", remedy="do this")


def test_a_peer_that_was_killed_during_a_call_is_away_and_not_broken() -> None:
    said = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, Metadata(), Metadata(), details="Internal error from Core"
    )
    error = from_rpc_error(said)
    assert isinstance(error, Unavailable)
    assert error.reason == "CONNECTION_LOST"
    assert is_retryable(error)
    own = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, Metadata(), Metadata(), details="a defect")
    assert isinstance(from_rpc_error(own), Internal)
