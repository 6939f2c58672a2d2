"""Several things at once, none of which goes on alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


async def together(*actions: Coroutine[Any, Any, ResultT]) -> list[ResultT]:
    """The results of all; where one raises, the others are ended before this raises.

    `asyncio.gather` alone would leave them at work, beside whatever is then done again.
    """
    tasks = [asyncio.create_task(action) for action in actions]
    try:
        return list(await asyncio.gather(*tasks))
    except asyncio.CancelledError:
        # They were cancelled with this one. A second cancel would end what they tidy up.
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
