"""The service and the container that the repository offers: their commands exist, and their health check tells."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from program import ROOT

from reconciler.cli.main import cli
from reconciler.watch.ear import Ear, listening

UNIT = ROOT / "deploy" / "reconciler-watch.service"
CONTAINER = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")


def commands() -> list[list[str]]:
    """Every command line of the program in both, without its name."""
    texts = UNIT.read_text(encoding="utf-8"), CONTAINER.replace("\\\n#", "").replace("\\\n", "")
    found = re.findall(r"(?:^ExecStart=\S*/reconciler|^#.* reconciler) +(watch .*)$", "\n".join(texts), re.MULTILINE)
    default = re.search(r"^CMD (\[.*\])$", CONTAINER, re.MULTILINE)
    assert default is not None
    return [*map(shlex.split, found), json.loads(default[1])]


def test_every_command_line_is_understood() -> None:
    lines = commands()
    assert len(lines) == 3
    for line in lines:
        command = cli.get_command(click.Context(cli), line[0])
        assert command is not None
        command.make_context(line[0], line[1:])


def test_the_container_is_not_run_as_root_and_is_stopped_by_a_signal_the_watch_obeys() -> None:
    assert re.findall(r"^USER (\d+):", CONTAINER, re.MULTILINE) == ["10001"]
    assert "STOPSIGNAL SIGTERM" in CONTAINER


def test_the_training_container_serves_to_all_who_have_the_key_not_as_root() -> None:
    text = (ROOT / "deploy" / "Containerfile.train").read_text(encoding="utf-8")
    default = re.search(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert default is not None
    words = json.loads(default[1])
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    given = command.make_context(words[0], words[1:]).params
    assert (given["trainer"], given["host"]) == ("trl", "0.0.0.0")
    assert re.findall(r"^USER (\d+):", text, re.MULTILINE) == ["10001"]


@pytest.mark.parametrize("well", [True, False])
async def test_the_health_check_fails_exactly_where_the_watch_is_not_well(well: bool) -> None:
    found = re.search(r'CMD \["python", "-c", "(.*)"\]', CONTAINER)
    assert found is not None
    ear = Ear(None, lambda _: None, alive=lambda: (well, {}), ready=lambda: (True, {}))
    async with listening(ear, "127.0.0.1", 0) as url:
        code = found[1].replace("http://127.0.0.1:8080", url)
        check = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=subprocess.DEVNULL)
        assert (await check.wait() == 0) == well


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="only where systemd is")
def test_systemd_understands_the_unit() -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    assert "Unknown" not in done.stderr, done.stderr
