"""The rest between two looks, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
from watch_support import Heard

from reconciler.watch.asking import Asking
from reconciler.watch.engine import Bench, Terms, Watch
from reconciler.watch.snapshot import Snapshot


class Resting(Watch):
    """Looks at nothing, and would rest for an hour."""

    async def _tick(self) -> float:
        return 3600.0


class Files:
    """Files of which none has changed; ``meanwhile`` is called while they are compared."""

    def __init__(self) -> None:
        self.compared = 0
        self.meanwhile: list[Callable[[], None]] = []

    async def read(self) -> Snapshot:
        raise AssertionError("nothing is read here")

    async def changed(self) -> bool:
        self.compared += 1
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return False


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def watch(files: Files) -> Watch:
    voice, nothing = Heard().voice, cast("Bench", None)
    return Resting(files, nothing, Terms(), Asking(voice), voice)


async def run(watch: Watch) -> None:
    """Let something happen to a file in the first look, and go on to the end."""

    async def arm() -> None:
        watch.stirred()

    async with asyncio.timeout(30):
        await watch.run(arm)


async def test_a_stop_that_comes_while_files_are_compared_is_not_lost(watch: Watch, files: Files) -> None:
    files.meanwhile = [watch.stop]
    await run(watch)
    assert files.compared == 1


async def test_what_happens_to_a_file_while_files_are_compared_has_them_compared_again(
    watch: Watch, files: Files
) -> None:
    files.meanwhile = [watch.stirred, watch.stirred, watch.stop]
    await run(watch)
    assert files.compared == 3
