"""Loading, leasing, evicting and failing, over a runtime that answers from memory."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from services.serving.tests.memory_runtime import World

from assay_core.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    PermissionDenied,
    Unavailable,
)
from assay_core.resources import State
from assay_serving.domain import Failure, FailureKind, Item, Sampling, TextPrompt
from assay_serving.generation import Batch, GenerateStream
from assay_serving.profiling import Load, profile
from assay_serving.registry import FIELDS, ModelRecord


def items(count: int, *, n: int = 1, prefix: str = "i") -> list[Item]:
    return [
        Item(f"{prefix}{i}", TextPrompt("x"), Sampling(), tuple(range(n))) for i in range(count)
    ]


async def one(batch: Batch) -> AsyncIterator[Batch]:
    yield batch


async def generate(world: World, known: ModelRecord, lease, wanted: list[Item]) -> list[str]:
    batch = Batch(lease.id, known.model.artifact_digest, wanted)
    stream = GenerateStream(world.engine(known)).run(one(batch))
    return [result.artifact_digest async for results in stream for result in results]


async def test_variants_of_one_architecture_share_an_engine_by_swaps(world):
    first, lease = await world.leased("a")
    assert await generate(world, first, lease, items(3)) == [first.model.artifact_digest] * 3
    world.manager.release(lease.id)
    second, lease = await world.leased("b")
    assert second.swapped
    assert second.model.engine_id == first.model.engine_id
    assert await generate(world, second, lease, items(1)) == [second.model.artifact_digest]
    left = await world.registry.get(first.model.id)
    assert (left.record.state, left.record.progress.phase) == (State.CANCELLED, "swapped out")
    assert [what for _, what in world.runtime.history] == ["start", "swap"]


async def test_the_same_content_in_another_place_is_the_same_model(world, tmp_path):
    first, _ = await world.leased("a")
    shutil.copytree(world.uri["a"], tmp_path / "copy")
    world.uri["copy"] = str(tmp_path / "copy")
    second, _ = await world.leased("copy")
    assert second.model == first.model
    assert [what for _, what in world.runtime.history] == ["start"]


async def test_a_lease_behind_another_artifact_generates_when_its_turn_comes(world):
    _, first = await world.leased("a")
    _, second = await world.load("b")
    known, third = await world.load("a")
    assert known.record.state is State.SUCCEEDED, "resident, for the first holder"
    waiting = asyncio.create_task(generate(world, known, third, items(2)))
    world.manager.release(first.id)
    await asyncio.sleep(0.2)
    assert not waiting.done()
    assert (await world.registry.get(known.model.id)).record.state is State.QUEUED
    world.manager.release(second.id)
    async with asyncio.timeout(10):
        assert await waiting == [third.digest] * 2


async def test_holders_that_take_turns_never_see_a_pending_lease(world):
    async def use(name: str) -> None:
        for _ in range(6):
            known, lease = await world.leased(name)
            assert await generate(world, known, lease, items(2)) == [lease.digest] * 2
            world.manager.release(lease.id)

    await asyncio.gather(*(use(name) for name in "abab"))


async def test_a_load_for_another_artifact_waits_for_the_lease_and_is_queued_meanwhile(world):
    _, lease = await world.leased("a")
    waiting, wanted = await world.load("b")
    await asyncio.sleep(0.05)
    assert (await world.registry.get(waiting.model.id)).record.state is State.QUEUED
    early = asyncio.create_task(generate(world, waiting, wanted, items(1)))
    world.manager.release(lease.id)
    assert (await world.settled(waiting)).ready
    assert await early == [wanted.digest], "who comes early waits for the turn"


async def test_a_swap_waits_for_generations_of_an_expired_lease(world):
    first, lease = await world.leased("a", ttl=1)
    world.runtime.hold.clear()
    running = asyncio.create_task(generate(world, first, lease, items(2)))
    await asyncio.sleep(0.05)
    world.clock.now += 2
    second, _ = await world.load("b")
    await asyncio.sleep(0.1)
    assert world.runtime.history == [(first.model.engine_id, "start")]
    world.runtime.hold.set()
    assert await running == [first.model.artifact_digest] * 2
    assert (await world.settled(second)).swapped


async def test_the_idle_engine_used_longest_ago_makes_room_for_another_family(world):
    first, lease = await world.leased("a")
    world.manager.release(lease.id)
    other, _ = await world.leased("c")
    assert other.model.engine_id != first.model.engine_id
    assert list(world.runtime.resident) == [other.model.engine_id]
    left = await world.registry.get(first.model.id)
    assert left.record.progress.phase == "evicted"


async def test_a_leased_engine_is_not_evicted(world):
    _, lease = await world.leased("a")
    other, _ = await world.load("c")
    await asyncio.sleep(0.1)
    assert not (await world.registry.get(other.model.id)).ready
    world.manager.release(lease.id)
    assert (await world.settled(other)).ready


async def test_a_failed_start_fails_the_model_and_ends_its_leases(world):
    known, lease = await world.load("a")
    world.runtime.refuse.add(known.model.artifact_digest)
    failed = await world.settled(known)
    assert failed.record.state is State.FAILED
    assert failed.record.error.reason == "ENGINE_START_FAILED"
    with pytest.raises(FailedPrecondition):
        world.manager.renew(lease.id, 60)
    world.runtime.refuse.clear()
    assert (await world.leased("a"))[0].ready


async def test_a_dead_engine_ends_streams_with_unavailable_and_restarts_on_the_next_load(world):
    known, lease = await world.leased("a")
    world.runtime.dead = True
    with pytest.raises(Unavailable) as failure:
        await generate(world, known, lease, items(2))
    assert failure.value.retry_after
    after = await world.registry.get(known.model.id)
    assert (after.record.state, after.record.error.reason) == (State.FAILED, "ENGINE_DEAD")
    again, lease = await world.leased("a")
    assert len(await generate(world, again, lease, items(2))) == 2
    assert [what for _, what in world.runtime.history] == ["start", "end", "start"]


async def test_an_answer_from_other_weights_ends_the_stream(world):
    known, lease = await world.leased("a")
    world.runtime.answers_from = "sha256:" + "0" * 64
    with pytest.raises(FailedPrecondition) as refusal:
        await generate(world, known, lease, items(2))
    assert refusal.value.reason == "WRONG_WEIGHTS"


async def test_files_that_changed_since_the_digest_was_taken_are_not_loaded(world):
    _, lease = await world.leased("a")
    known, _ = await world.load("b")
    (Path(world.uri["b"]) / "tokenizer.json").write_text("{ }")
    world.manager.release(lease.id)
    failed = await world.settled(known)
    assert failed.record.error.reason == "FILE_DAMAGED"
    assert world.engine(known).resident == lease.digest, "what was resident stays"


async def test_one_request_id_is_one_lease_while_it_lasts_and_one_artifact(world):
    _, first = await world.leased("a", request_id="r")
    _, again = await world.load("a", request_id="r")
    assert again.id == first.id
    with pytest.raises(AlreadyExists):
        await world.load("b", request_id="r")
    world.clock.now += 61
    _, fresh = await world.load("a", request_id="r")
    assert fresh.id != first.id


async def test_unload_is_refused_while_leased_and_forced_ends_the_lease(world):
    known, lease = await world.leased("a")
    with pytest.raises(FailedPrecondition) as refusal:
        await world.manager.unload(known.model.id, force=False)
    assert refusal.value.reason == "MODEL_LEASED"
    gone = await world.manager.unload(known.model.id, force=True)
    assert (gone.ready, gone.record.progress.phase) == (False, "unloaded")
    with pytest.raises(FailedPrecondition) as refusal:
        await generate(world, known, lease, items(1))
    assert refusal.value.reason == "LEASE_NOT_HELD"
    assert await world.manager.unload(known.model.id, force=False) == gone


async def test_residency_without_a_lease_holds_nothing(world):
    known, lease = await world.load("a", ttl=0)
    assert lease is None
    assert (await world.settled(known)).ready
    assert (await world.leased("b"))[0].swapped


async def test_a_restarted_server_takes_back_what_it_said_about_residency(world):
    known, _ = await world.leased("a")
    await world.registry.start()
    after = await world.registry.get(known.model.id)
    assert (after.ready, after.record.progress.phase) == (False, "server restarted")


async def test_a_draining_server_takes_no_loads(world):
    await world.manager.drain()
    with pytest.raises(Unavailable):
        await world.load("a")


async def test_only_allowed_prefixes_are_read(tmp_path):
    world = World(tmp_path, artifact_prefixes=["file:///somewhere/else"])
    with pytest.raises(PermissionDenied) as refusal:
        await world.load("a")
    assert refusal.value.field == "artifact_uri"
    await world.registry.close()


async def test_closing_a_stream_aborts_its_batches_and_gives_all_room_back(world):
    known, lease = await world.leased("a")
    engine = world.engine(known)
    world.runtime.hold.clear()
    batch = Batch(lease.id, known.model.artifact_digest, items(10, n=5))
    stream = GenerateStream(engine).run(one(batch))
    reading = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)
    assert (engine.limit.used, world.runtime.running) == (50, 1)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await stream.aclose()
    assert (engine.limit.used, engine.gate.in_use, world.runtime.running) == (0, 0, 0)
    assert world.runtime.aborted == 1


async def test_a_stream_is_not_read_while_the_engine_is_full(tmp_path):
    world = World(tmp_path, max_in_flight=10)
    known, lease = await world.leased("a")
    world.runtime.hold.clear()
    taken = 0

    async def batches() -> AsyncIterator[Batch]:
        nonlocal taken
        for number in range(5):
            taken += 1
            wanted = items(6, prefix=f"m{number}-")
            yield Batch(lease.id, known.model.artifact_digest, wanted)

    stream = GenerateStream(world.engine(known)).run(batches())
    first = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)
    assert taken == 2, "one message runs, one waits for room"
    world.runtime.hold.set()
    found = [*await first, *[result async for results in stream for result in results]]
    assert len(found) == 30
    await world.manager.drain()
    await world.registry.close()


async def stream_of_messages(world: World, count: int) -> tuple[asyncio.Task, asyncio.Event]:
    """A stream of as many messages, of two items each; the event is set when all are read."""
    known, lease = await world.leased("a")
    read = asyncio.Event()

    async def batches() -> AsyncIterator[Batch]:
        for number in range(count):
            wanted = items(2, prefix=f"m{number}-")
            yield Batch(lease.id, known.model.artifact_digest, wanted)
        read.set()

    async def run() -> list[str]:
        stream = GenerateStream(world.engine(known)).run(batches())
        return sorted([result.item_id async for results in stream for result in results])

    return asyncio.create_task(run()), read


async def test_messages_that_come_while_a_call_is_on_its_way_go_together_in_the_next(world):
    world.runtime.open.clear()
    running, read = await stream_of_messages(world, 4)
    await read.wait()
    world.runtime.open.set()
    everything = [f"m{number}-{i}" for number in range(4) for i in range(2)]
    assert await running == everything
    assert world.runtime.calls == [everything[:2], everything[2:]]


async def test_messages_for_several_replicas_go_one_by_one(tmp_path):
    world = World(tmp_path, replicas=2)
    world.runtime.open.clear()
    running, read = await stream_of_messages(world, 4)
    await read.wait()
    world.runtime.open.set()
    assert len(await running) == 8
    assert world.runtime.calls == [[f"m{number}-{i}" for i in range(2)] for number in range(4)]
    await world.manager.drain()
    await world.registry.close()


async def test_an_id_that_is_in_flight_is_refused(world):
    known, lease = await world.leased("a")
    world.runtime.hold.clear()

    async def batches() -> AsyncIterator[Batch]:
        for _ in range(2):
            yield Batch(lease.id, known.model.artifact_digest, items(1))

    stream = GenerateStream(world.engine(known)).run(batches())
    with pytest.raises(InvalidArgument) as refusal:
        async for _ in stream:
            pass
    assert refusal.value.field == "items[0].id"
    assert world.engine(known).limit.used == 0


async def test_a_profile_that_does_not_fit_the_context_is_refused_before_its_prompts_are_made(
    world,
):
    known, lease = await world.leased("a")
    engine = world.engine(known)
    with pytest.raises(OutOfRange) as refusal:
        await profile(engine, lease.id, lease.digest, Load(prompt_tokens=2**31 - 1))
    assert refusal.value.reason == "OVERLENGTH"
    assert world.runtime.calls == []


async def test_a_profile_of_which_one_request_fails_stops_the_others(world, monkeypatch):
    known, lease = await world.leased("a")
    answer = world.runtime._answer

    def fail_first(handle, item, index):
        if item.id == "profile-0":
            return Failure(item.id, index, FailureKind.ENGINE_REFUSED, "the engine failed on it")
        return answer(handle, item, index)

    monkeypatch.setattr(world.runtime, "_answer", fail_first)
    with pytest.raises(Unavailable):
        load = Load(prompt_tokens=1, completion_tokens=1, concurrency=2, requests=2000)
        await profile(world.engine(known), lease.id, lease.digest, load)
    asked = len(world.runtime.calls)
    await asyncio.sleep(0.1)
    assert len(world.runtime.calls) == asked < 2000


def test_every_listed_filter_is_a_field_of_the_records():
    assert set(FIELDS) == {"artifact_digest", "artifact_uri", "engine_id", "ready", "wanted"}
