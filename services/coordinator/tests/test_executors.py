"""Who is alive, on a real Postgres server: one taker for each dead, no way back for a zombie."""

import postgres
import pytest

from assay_coordinator.store import StudyStore
from assay_coordinator.store.executors import ExecutorStore


@pytest.fixture(scope="module")
def store():
    with postgres.server() as url:
        engine = StudyStore(url).engine
        yield ExecutorStore(engine)
        engine.dispose()  # the server waits for who is connected


def test_who_renews_lives_and_who_is_silent_is_dead_to_the_others(store):
    alive = store.join("alive", 60)
    silent = store.join("silent", 0)
    assert store.renew("alive", alive, 60)
    with store.dead(but="alive") as ids:
        assert ids == ["silent"]
    with store.dead(but="alive") as ids:
        assert ids == []  # taken over once
    assert not store.renew("silent", silent, 60)


def test_one_that_was_late_but_not_taken_over_lives_on(store):
    epoch = store.join("late", 0)
    assert store.renew("late", epoch, 60)
    with store.dead(but="x") as ids:
        assert "late" not in ids


def test_a_zombie_stays_dead_also_when_its_successor_has_joined(store):
    zombie = store.join("pod-0", 0)
    with store.dead(but="x") as ids:
        assert ids == ["pod-0"]
    successor = store.join("pod-0", 60)
    assert not store.renew("pod-0", zombie, 60)
    assert store.renew("pod-0", successor, 60)


def test_a_second_process_of_one_id_ends_the_first(store):
    first = store.join("twice", 60)
    second = store.join("twice", 60)
    assert not store.renew("twice", first, 60)
    assert store.renew("twice", second, 60)


def test_a_dead_one_is_given_to_one_replica_only_and_again_if_that_fails(store):
    store.join("dead", 0)
    with store.dead(but="a") as first, store.dead(but="b") as second:
        assert (first, second) == (["dead"], [])
    store.join("dead", 0)
    with pytest.raises(RuntimeError), store.dead(but="a"):
        raise RuntimeError
    with store.dead(but="b") as ids:
        assert ids == ["dead"]
