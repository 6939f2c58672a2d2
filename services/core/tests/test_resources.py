"""The resource store: one creation per request, guarded moves, stable pages, prompt watches."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resource_drafts import draft

from assay_core.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from assay_core.pb import common_pb2
from assay_core.resources import (
    TERMINAL,
    Progress,
    ResourceStore,
    State,
    can_move,
    database,
    meta_of,
)


async def test_a_created_resource_is_read_back(store: ResourceStore) -> None:
    record, created = await store.create(draft("a", request_id="r", model={"uri": "demo"}))
    assert created
    assert record == await store.get("a")
    assert (record.state, record.version, record.error) == (State.QUEUED, 1, None)
    assert record.spec == {"model": {"uri": "demo"}}
    assert record.create_time == record.update_time == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


async def test_the_same_request_is_one_resource(store: ResourceStore) -> None:
    first, _ = await store.create(draft("a", request_id="r", bits=4))
    again, created = await store.create(draft("b", request_id="r", bits=4))
    assert (again, created) == (first, False)
    with pytest.raises(AlreadyExists) as caught:
        await store.create(draft("c", request_id="r", bits=3))
    assert (caught.value.field, caught.value.reason) == ("request_id", "REQUEST_ID_REUSED")
    _, elsewhere = await store.create(draft("d", request_id="r", project="other", bits=3))
    assert elsewhere


async def test_without_a_request_id_the_id_decides(store: ResourceStore) -> None:
    await store.create(draft("a", bits=4))
    _, created = await store.create(draft("a", bits=4))
    assert not created
    _, created = await store.create(draft("b", bits=4))
    assert created
    with pytest.raises(AlreadyExists):
        await store.create(draft("a", bits=3))


async def test_concurrent_creations_make_one_resource(
    store: ResourceStore, url: str, table: str
) -> None:
    other = ResourceStore(url, table)
    answers = await asyncio.gather(
        *(
            side.create(draft(f"x{index}", request_id="r", bits=4))
            for index in range(20)
            for side in (store, other)
        )
    )
    await other.close()
    assert sum(created for _, created in answers) == 1
    assert len({record.id for record, _ in answers}) == 1


async def test_a_missing_resource_is_not_found(store: ResourceStore) -> None:
    for attempt in (store.get("no"), store.update("no", state=State.RUNNING), store.delete("no")):
        with pytest.raises(NotFound) as caught:
            await attempt
        assert str(caught.value.resource).endswith("/no")


async def test_an_update_merges_status_and_counts_versions(store: ResourceStore) -> None:
    await store.create(draft("a"))
    await store.update("a", state=State.RUNNING, status={"x": 1, "y": 1})
    record = await store.update("a", status={"y": 2}, progress={"completed": 3, "total": 9})
    assert record.status == {"x": 1, "y": 2}
    assert record.progress == Progress(completed=3, total=9)
    assert (record.state, record.version) == (State.RUNNING, 3)
    assert record.update_time > record.create_time


async def test_an_unexpected_state_leaves_the_resource_untouched(store: ResourceStore) -> None:
    before, _ = await store.create(draft("a"))
    with pytest.raises(FailedPrecondition) as caught:
        await store.update("a", state=State.SUCCEEDED, expect={State.RUNNING})
    assert caught.value.metadata == {"state": "QUEUED"}
    assert await store.get("a") == before


async def test_only_one_of_two_claims_wins(store: ResourceStore) -> None:
    await store.create(draft("a"))
    claims = await asyncio.gather(
        *(store.update("a", state=State.RUNNING, expect={State.QUEUED}) for _ in range(8)),
        return_exceptions=True,
    )
    assert sum(not isinstance(claim, Exception) for claim in claims) == 1


async def test_a_failure_is_stored_with_its_cause_and_cleared_by_a_resume(
    store: ResourceStore,
) -> None:
    cause = Unavailable("the engine is gone", remedy="load it again", retry_after=5)
    await store.create(draft("a"))
    failed = await store.update("a", state=State.FAILED, error=cause)
    assert failed.error == cause
    resumed = await store.update("a", state=State.QUEUED)
    assert resumed.error is None


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (State.QUEUED, State.RUNNING, True),
        (State.RUNNING, State.WAITING_FOR_MODEL, True),
        (State.WAITING_FOR_MODEL, State.RUNNING, True),
        (State.PAUSED, State.QUEUED, True),
        (State.CANCELLING, State.CANCELLED, True),
        (State.CANCELLING, State.RUNNING, False),
        (State.SUCCEEDED, State.RUNNING, False),
        (State.SUCCEEDED, State.FAILED, False),
        (State.FAILED, State.QUEUED, True),
        (State.CANCELLED, State.QUEUED, True),
    ],
)
def test_which_state_may_follow_which(before: State, after: State, allowed: bool) -> None:
    assert can_move(before, after) is allowed


@given(st.sampled_from(State), st.sampled_from(State))
def test_a_terminal_state_is_left_only_by_queueing_again(before: State, after: State) -> None:
    if before in TERMINAL and after not in (before, State.QUEUED):
        assert not can_move(before, after)


def test_states_are_those_of_the_contract() -> None:
    names = {name.removeprefix("STATE_") for name in common_pb2.State.DESCRIPTOR.values_by_name}
    assert names == {state.name for state in State} | {"UNSPECIFIED"}
    for state in State:
        assert State.from_proto(state.to_proto()) is state


async def test_a_record_becomes_the_contracts_meta(store: ResourceStore) -> None:
    await store.create(draft("a", request_id="r"))
    record = await store.update(
        "a",
        state=State.FAILED,
        error=Unavailable("gone"),
        progress=Progress(1, 2, "layers", "quantizing", 1.5),
    )
    meta = meta_of(record)
    assert (meta.id, meta.request_id, meta.state) == ("a", "r", common_pb2.STATE_FAILED)
    assert (meta.progress.unit, meta.progress.eta.ToTimedelta()) == (
        "layers",
        timedelta(seconds=1.5),
    )
    assert (meta.error.code, meta.error.retryable) == ("UNAVAILABLE", True)
    assert meta.create_time.ToDatetime(UTC) == record.create_time


async def test_a_watch_sees_changes_at_once_and_ends_with_the_work(store: ResourceStore) -> None:
    store._poll = 30.0  # Only wake-ups can deliver within the test's time.
    await store.create(draft("a"))
    next_state = {State.QUEUED: State.RUNNING, State.RUNNING: State.SUCCEEDED}
    seen: list[State] = []
    changes: list[asyncio.Task[object]] = []
    async with asyncio.timeout(5):
        async for record in store.watch("a"):
            seen.append(record.state)
            if record.state in next_state:
                change = store.update("a", state=next_state[record.state])
                changes.append(asyncio.ensure_future(change))
    await asyncio.gather(*changes)
    assert seen == [State.QUEUED, State.RUNNING, State.SUCCEEDED]


async def test_a_watch_sees_changes_of_other_processes(
    store: ResourceStore, url: str, table: str
) -> None:
    await store.create(draft("a"))
    other = ResourceStore(url, table)

    async def finish() -> None:
        await asyncio.sleep(0.1)
        await other.update("a", state=State.CANCELLED)

    async with asyncio.timeout(10):
        finishing = asyncio.ensure_future(finish())
        states = [record.state async for record in store.watch("a")]
        await finishing
    await other.close()
    assert states == [State.QUEUED, State.CANCELLED]


async def test_a_watch_of_a_deleted_resource_ends_with_not_found(store: ResourceStore) -> None:
    await store.create(draft("a"))
    with pytest.raises(NotFound):
        async for _ in store.watch("a"):
            await store.delete("a")


def test_a_killed_writer_leaves_whole_records(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: what was acknowledged is there, and nothing is torn."""
    url = f"sqlite:///{tmp_path}/kill.sqlite"
    script = textwrap.dedent(
        """
        import asyncio, sys
        from assay_core.resources import Draft, ResourceStore

        async def main():
            store = ResourceStore(sys.argv[1], "things")
            for index in range(10_000):
                draft = Draft(f"i{index:05}", "default", f"r{index}", "f", {"n": index})
                await store.create(draft)
                print(index, flush=True)

        asyncio.run(main())
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, url], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged >= 50:
            break
    process.kill()
    acknowledged = max([acknowledged, *(int(x) for x in process.stdout if x.endswith("\n"))])
    process.wait()
    process.stdout.close()

    async def look() -> list[int]:
        store = ResourceStore(url, "things")
        page = await store.list(None, page_size=1000, order_by="id")
        await store.create(draft("after"))
        await store.close()
        return [record.spec["n"] for record in page.records]

    found = asyncio.run(look())
    assert len(found) - 1 in (acknowledged, acknowledged + 1)
    assert found == list(range(len(found)))


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "new.sqlite"
    store = ResourceStore(f"sqlite:///{file}", "things")
    await store.create(draft("a"))
    await store.close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE assay_schema SET version = 99")
    connection.close()
    again = ResourceStore(f"sqlite:///{file}", "things")
    with pytest.raises(FailedPrecondition) as caught:
        await again.get("a")
    assert caught.value.reason == "SCHEMA_TOO_NEW"
    await again.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/db"])
def test_an_unusable_url_names_the_setting(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        ResourceStore(url, "things")
    assert caught.value.field == "database_url"


NUL = "a\0b"


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.get(NUL),
        lambda store: store.list(None, filter=f'id = "{NUL}"'),
        lambda store: store.create(draft("nul", name_of_it=NUL)),
    ],
)
async def test_a_text_that_postgres_cannot_keep_is_never_an_internal_error(
    store: ResourceStore, use: Callable[[ResourceStore], Awaitable[object]]
) -> None:
    with contextlib.suppress(InvalidArgument, NotFound):
        await use(store)


async def test_a_postgres_that_accepts_and_says_nothing_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("psycopg")
    # The shortest that libpq knows.
    monkeypatch.setitem(database.PATIENCE, "connect_timeout", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = ResourceStore(
            f"postgresql://x@127.0.0.1:{silent.getsockname()[1]}/x?sslmode=disable", "studies"
        )
        with pytest.raises(Unavailable):
            async with asyncio.timeout(15):
                await store.get("a")
        await store.close()
