"""
What one waits to see in a page of the video call.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest

from ..interop.remote import missing
from .video_call import Tab

T = TypeVar("T")

LIMIT = 60.0

OTHER = ".other:not([hidden]) video"

needs_chromium = pytest.mark.skipif(
    missing("chromium") is not None, reason=str(missing("chromium"))
)


async def eventually(look: Callable[[], Awaitable[T]], what: str) -> T:
    """
    Wait until something that is looked at is true.
    """
    value = await look()
    try:
        async with asyncio.timeout(LIMIT):
            while not value:
                await asyncio.sleep(0.2)
                value = await look()
    except TimeoutError as exc:
        raise TimeoutError(f"{what}: {value}") from exc
    return value


async def moves(tab: Tab, selector: str) -> None:
    """
    Wait until a video has shown another picture than before, and several more.
    """
    frames = await tab.frames(selector)

    async def more() -> bool:
        return await tab.frames(selector) >= frames + 5

    if frames == 0:
        await eventually(more, f"no pictures in {selector}")
        frames = await tab.frames(selector)
    before = await tab.pixels(selector)

    async def other() -> bool:
        return bool(np.abs(await tab.pixels(selector) - before).max() > 30)

    await eventually(more, f"{selector} stands still")
    await eventually(other, f"{selector} shows always the same")
