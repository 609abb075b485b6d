from __future__ import annotations

import asyncio

from shelf import Shelf

from reconciler.errors import StoreError
from reconciler.ui.news import News


async def first(news: News, count: int) -> list[str]:
    lines = []
    reading = news.read()
    async for line in reading:
        lines.append(line)
        if len(lines) == count:
            break
    await reading.aclose()  # type: ignore[attr-defined]
    return lines


async def test_a_reader_hears_the_version_and_every_change(shelf: Shelf) -> None:
    reading = News(shelf.version, pause=0.001).read()
    async with asyncio.timeout(30):
        assert [await anext(reading), await anext(reading)] == ["retry: 2000\n\n", "data: 1\n\n"]
        shelf.at = "2"
        assert await anext(reading) == "data: 2\n\n"
    await reading.aclose()  # type: ignore[attr-defined]


async def test_many_readers_cost_one_look_and_none_cost_nothing(shelf: Shelf) -> None:
    news = News(shelf.version, pause=0.01)
    await asyncio.wait_for(asyncio.gather(*(first(news, 2) for _ in range(100))), 30)
    looks = len(shelf.asked)
    assert looks < 20
    await asyncio.sleep(0.05)
    assert len(shelf.asked) == looks


async def test_closing_ends_every_stream(shelf: Shelf) -> None:
    news = News(shelf.version, pause=0.001)
    readers = [news.read() for _ in range(5)]
    async with asyncio.timeout(30):
        for reading in readers:
            assert [await anext(reading), await anext(reading)] == ["retry: 2000\n\n", "data: 1\n\n"]
        rest = asyncio.gather(*(anext(reading, "the end") for reading in readers))
        await asyncio.sleep(0)  # all of them wait
        news.close()
        assert await rest == ["the end"] * 5
        assert await first(news, 5) == ["retry: 2000\n\n"]


async def test_a_source_that_fails_for_a_while_is_asked_again() -> None:
    answers = iter(["fault", "1"])

    async def version() -> str:
        if next(answers, "1") == "fault":
            raise StoreError("The database is locked.")
        return "1"

    assert (await asyncio.wait_for(first(News(version, pause=0.001), 2), 30))[1] == "data: 1\n\n"
