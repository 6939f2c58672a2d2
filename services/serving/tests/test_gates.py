"""Generation shares the engine, a swap has it alone; work in flight is bounded, in order."""

from __future__ import annotations

import asyncio

import pytest

from assay_serving.gates import InFlightLimit, SwapGate


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_swap_waits_for_generations_and_later_generations_wait_for_the_swap():
    gate = SwapGate()
    order: list[str] = []
    leave = asyncio.Event()

    async def generate(name: str, until: asyncio.Event | None = None) -> None:
        async with gate.shared():
            order.append(name)
            if until is not None:
                await until.wait()

    async def swap() -> None:
        async with gate.exclusive():
            assert gate.in_use == 0
            order.append("swap")

    first = asyncio.create_task(generate("first", leave))
    await settle()
    swapping = asyncio.create_task(swap())
    await settle()
    later = asyncio.create_task(generate("later"))
    await settle()
    assert order == ["first"]
    leave.set()
    await asyncio.gather(first, swapping, later)
    assert order == ["first", "swap", "later"]


async def test_a_cancelled_swap_lets_generations_through():
    gate = SwapGate()
    async with gate.shared():
        swapping = asyncio.create_task(gate.exclusive().__aenter__())
        await settle()
        swapping.cancel()
        await asyncio.gather(swapping, return_exceptions=True)
        async with asyncio.timeout(1), gate.shared():
            assert gate.in_use == 2


async def test_callers_enter_in_order_as_room_is_given_back():
    limit = InFlightLimit(10)
    first = await limit.acquire(8)
    second = asyncio.create_task(limit.acquire(5))
    third = asyncio.create_task(limit.acquire(1))
    await settle()
    assert not second.done()
    assert not third.done(), "a small batch does not overtake a large one"
    first.shrink(5)
    await settle()
    assert second.done()
    assert not third.done()
    first.release()
    await settle()
    assert third.done()
    assert limit.used == 6


async def test_a_batch_larger_than_the_limit_enters_alone_and_gives_back_what_it_took():
    limit = InFlightLimit(10)
    permit = await limit.acquire(6400)
    assert limit.used == 10
    permit.shrink(6000)
    assert limit.used == 10
    permit.shrink(3)
    assert limit.used == 3
    permit.release()
    permit.release()
    assert limit.used == 0


@pytest.mark.parametrize("granted", [False, True])
async def test_a_cancelled_wait_leaves_no_room_taken(granted):
    limit = InFlightLimit(10)
    permit = await limit.acquire(10)
    waiting = asyncio.create_task(limit.acquire(4))
    await settle()
    if granted:
        permit.release()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    permit.release()
    assert (limit.used, limit.waiting) == (0, 0)
