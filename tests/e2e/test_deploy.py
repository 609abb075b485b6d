"""The service and the container that the repository offers: their commands exist, and their health check tells."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize(
    ("index", "has"),
    [("", True), ("https://wheels.example.com/whl/cu130", True), ("https://wheels.example.com/whl/cpu", False)],
)
def test_the_training_container_has_four_bits_where_it_is_built_for_cuda(index: str, has: bool) -> None:
    text = (ROOT / "deploy" / "Containerfile.train").read_text(encoding="utf-8")
    found = re.search(
        r"^RUN (extras=.*?)\\\n +&& \S+/pip install [^\n]*\"\.\[\$extras\]\"", text, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    script = found[1].replace("\\\n", " ") + " && echo $extras"
    done = subprocess.run(
        ["sh", "-c", script], env={"TORCH_INDEX": index}, capture_output=True, text=True, check=True, timeout=60
    )
    assert ("qlora" in done.stdout.strip().split(",")) == has


def test_the_recipe_for_slurm_gives_the_key_to_the_server_alone_and_rays_token_to_all(tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "ray.md").read_text(encoding="utf-8")
    found = re.search(r"^```bash\n(#!/bin/bash\n#SBATCH.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert found is not None
    log = tmp_path / "log"
    for name in ("ray", "srun", "reconciler"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name}, $RECONCILER_API_KEY, $RAY_AUTH_MODE, $*" >> {log}\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "reconciler.key").write_text("sesame\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "SLURM_NNODES": "2"}
    script = found[1].replace("source /shared/venv/bin/activate\n", "") + "wait\n"
    subprocess.run(["bash", "-c", script], env=environment, check=True, timeout=60)
    said = [line.split(", ", 3) for line in log.read_text().splitlines()]
    assert {(name, key, mode) for name, key, mode, _ in said} == {
        ("ray", "", "token"),
        ("srun", "", "token"),
        ("reconciler", "sesame", "token"),
    }
    assert said[0][3] == "get-auth-token --generate"
    words = shlex.split(next(words for name, *_, words in said if name == "reconciler"))
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    assert command.make_context(words[0], words[1:]).params["host"] == "0.0.0.0"


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
