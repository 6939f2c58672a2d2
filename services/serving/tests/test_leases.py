"""Leases: shared by holders of one artifact, first come first served between artifacts."""

from __future__ import annotations

import pytest

from assay_core.errors import FailedPrecondition
from assay_serving.leases import Grant, Lease, LeaseBook, LeaseState, Load, Wait

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> LeaseBook:
    return LeaseBook(clock)


def lease(name: str, digest: str = A, ttl: float = 60.0) -> Lease:
    return Lease(name, f"model-{digest[7]}", digest, ttl)


def held(book: LeaseBook, name: str, digest: str = A) -> Lease:
    wanted = lease(name, digest)
    book.request(wanted)
    assert book.step(digest) == Grant(wanted)
    return wanted


def test_a_request_for_the_resident_artifact_is_granted_at_once(book, clock):
    wanted = lease("one")
    book.request(wanted)
    assert book.step(A) == Grant(wanted)
    assert book.check("one", A) is wanted
    assert book.seconds_left(wanted) == 60.0


def test_a_request_for_another_artifact_is_loaded_when_no_lease_is_held(book):
    wanted = lease("one", B)
    book.request(wanted)
    assert book.step(A) == Load(wanted)
    assert book.step(B) == Grant(wanted)


def test_a_request_for_another_artifact_waits_until_the_last_lease_expires(book, clock):
    held(book, "one", A)
    clock.now += 10
    book.request(lease("two", B))
    assert book.step(A) == Wait(50.0)
    clock.now += 50
    assert isinstance(book.step(A), Load)


def test_holders_of_one_artifact_share_it(book):
    held(book, "one")
    held(book, "two")
    assert {x.id for x in book.held(A)} == {"one", "two"}


def test_a_later_request_for_the_resident_artifact_waits_behind_an_earlier_one_for_another(book):
    held(book, "one", A)
    book.request(lease("two", B))
    book.request(lease("three", A))
    assert book.step(A) == Wait(60.0)
    book.release("one")
    assert isinstance(book.step(A), Load)
    assert book.step(B).lease.id == "two"
    assert isinstance(book.step(B), Wait)
    book.release("two")
    assert book.step(B).lease.id == "three"


def test_a_request_without_a_time_to_live_makes_resident_and_holds_nothing(book):
    book.request(lease("one", A, ttl=0))
    assert isinstance(book.step(None), Load)
    assert isinstance(book.step(A), Grant)
    assert book.idle


def test_renewal_extends_from_now(book, clock):
    wanted = held(book, "one")
    clock.now += 59
    assert book.seconds_left(book.renew("one", 30)) == 30
    clock.now += 29
    assert book.check("one", A) is wanted


@pytest.mark.parametrize("use", ["check", "renew"])
def test_an_expired_lease_gives_no_right(book, clock, use):
    wanted = held(book, "one")
    clock.now += 60
    with pytest.raises(FailedPrecondition) as refusal:
        book.check("one", A) if use == "check" else book.renew("one", 60)
    assert refusal.value.reason == "LEASE_NOT_HELD"
    assert wanted.state is LeaseState.ENDED


def test_a_pending_lease_gives_no_right_yet(book):
    held(book, "one", A)
    book.request(lease("two", B))
    with pytest.raises(FailedPrecondition) as refusal:
        book.check("two", B)
    assert refusal.value.reason == "LEASE_PENDING"


def test_a_lease_gives_no_right_to_another_artifact(book):
    held(book, "one", A)
    with pytest.raises(FailedPrecondition) as refusal:
        book.check("one", B)
    assert refusal.value.reason == "LEASE_FOR_ANOTHER_ARTIFACT"
    assert refusal.value.field == "artifact_digest"


def test_release_is_idempotent_and_withdraws_a_request_that_waits(book):
    held(book, "one", A)
    book.request(lease("two", B))
    book.release("two")
    book.release("two")
    assert book.queued == 0
    book.release("one")
    assert book.idle


def test_a_failed_load_ends_every_request_for_that_artifact_and_no_other(book):
    book.request(lease("one", A))
    book.request(lease("two", B))
    book.request(lease("three", A))
    assert {x.id for x in book.end_artifact(A)} == {"one", "three"}
    assert book.step(None).lease.id == "two"


def test_a_dead_engine_ends_held_leases_and_keeps_the_queue(book):
    held(book, "one", A)
    book.request(lease("two", B))
    assert [x.id for x in book.end_held()] == ["one"]
    assert isinstance(book.step(None), Load)
