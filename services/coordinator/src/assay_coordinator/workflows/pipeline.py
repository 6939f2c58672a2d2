"""The order in which the variants of a study are made, evaluated and compared.

They stand in line for a compression device, and then for an engine, in the order of the matrix: the
next as soon as the one before has its place. So a device that becomes free finds the next waiting,
and a study stands in a line once, however many variants it has: among studies of one priority
places go round, one variant each. Comparisons run beside the evaluations that follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypedDict


class Begun(TypedDict):
    """A variant of a study that began, as the workflow keeps it."""

    key: str
    reference: str  # key of what it is compared with; its own for a reference
    looks: bool  # whether its evaluation needs the reference's, to compare while it runs


Step = Callable[[int, asyncio.Event], Awaitable[bool]]
Last = Callable[[int], Awaitable[object]]


async def run_variants(
    variants: Sequence[Begun], make: Step, evaluate: Step, compare: Last
) -> None:
    """Bring every variant to its end; steps are called with a variant's position.

    Args:
        variants: The matrix, every reference before what is compared with it.
        make: Whether there is an artifact; sets the event once it has its place at a device.
        evaluate: Whether there is a score; sets the event once it has its place at an engine.
        compare: Called after both sides are evaluated.
    """
    positions = {variant["key"]: index for index, variant in enumerate(variants)}
    made = [asyncio.Event() for _ in variants]
    placed = [asyncio.Event() for _ in variants]
    making: list[asyncio.Task[bool]] = []
    evaluating: list[asyncio.Task[bool]] = []

    async def make_in_order(index: int) -> bool:
        if index:
            await _either(made[index - 1], making[index - 1])
        return await make(index, made[index])

    async def evaluate_in_order(index: int) -> bool:
        if not await _result(making[index]):
            return False
        if index:
            await _either(placed[index - 1], evaluating[index - 1])
        if variants[index]["looks"]:
            await reference_evaluated(index)
        return await evaluate(index, placed[index])

    async def compare_evaluated(index: int) -> None:
        await reference_evaluated(index)
        if await _result(evaluating[index]):
            await compare(index)

    async def reference_evaluated(index: int) -> None:
        reference = positions[variants[index]["reference"]]
        if reference != index:
            await _result(evaluating[reference])

    everyone = range(len(variants))
    making += [asyncio.create_task(make_in_order(index)) for index in everyone]
    evaluating += [asyncio.create_task(evaluate_in_order(index)) for index in everyone]
    comparing = [asyncio.create_task(compare_evaluated(index)) for index in everyone]
    tasks = [*making, *evaluating, *comparing]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        # Each once: a second cancel would end a step that gives its lease back.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _result(task: asyncio.Task[bool]) -> bool:
    """What a task ends with; a cancel of who waits for it does not reach it."""
    await asyncio.wait({task})
    return task.result()


async def _either(event: asyncio.Event, task: asyncio.Task[bool]) -> None:
    """Wait for the event, or for the end of the task that would set it."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
