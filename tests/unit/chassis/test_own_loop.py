"""What is executed on one event loop for callers on others."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from graphmesh_chassis.own_loop import OwnLoop


async def test_items_are_made_on_the_loop_of_their_object() -> None:
    """Up to the end of the generator, also where the caller reads no further."""
    here, own, ended = asyncio.get_running_loop(), OwnLoop(""), list[bool]()

    async def items() -> AsyncGenerator[bool, None]:
        try:
            while True:
                yield asyncio.get_running_loop() is here
        finally:
            ended.append(asyncio.get_running_loop() is here)

    async def read() -> list[bool]:
        found = list[bool]()
        async with aclosing(own.iterate(items())) as iterated:
            async for item in iterated:
                found.append(item)
                if len(found) == 3:
                    break
        return found

    assert await asyncio.to_thread(lambda: asyncio.run(read())) == [True] * 3
    assert ended == [True]
    assert await read() == [True] * 3
