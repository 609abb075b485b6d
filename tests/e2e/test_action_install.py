"""The action's install: locked, offline where wheels are given, made once, and never into somebody else's Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_action import PROGRAM, SmallAction
from wheels import wheel


@pytest.fixture
def checkout(tmp_path: Path) -> SmallAction:
    return SmallAction.make(tmp_path)


@pytest.mark.slow
def test_a_wheel_that_is_not_the_locked_one_is_refused(checkout: SmallAction) -> None:
    wheel(checkout.wheelhouse, "a-dependency", "1", {"a_dependency.py": "ANSWER = 'evil'\n"})
    outputs, said = checkout.run("install", code=1)
    assert outputs == {}
    assert "::error::wheelhouse does not hold every wheel that action/requirements.txt names" in said


@pytest.mark.slow
def test_a_released_version_takes_the_place_of_the_checkout_and_is_installed_once(checkout: SmallAction) -> None:
    program = {"reconciler/__init__.py": "", "reconciler/__main__.py": PROGRAM.format("2.0")}
    wheel(checkout.wheelhouse, "finetune-reconciler", "2.0", program)
    assert checkout.run("install", version="2.0")[0] == {"made": "true"}
    assert checkout.program("2.0") == "reconciler 2.0 42 ci"
    assert checkout.run("install", version="2.0")[0] == {}


def test_the_key_names_all_that_decides_what_is_installed(checkout: SmallAction) -> None:
    keys = [checkout.run("where")[0]["key"]]
    assert checkout.run("where", temp="elsewhere")[0]["key"] == keys[0]
    for path in ("action/requirements.txt", "pyproject.toml", "reconciler/__main__.py", "reconciler/new.yml"):
        with (checkout.root / path).open("a", encoding="utf-8") as file:
            file.write("# more\n")
        keys.append(checkout.run("where")[0]["key"])
    keys.append(checkout.run("where", version="1.2.0")[0]["key"])
    assert len(set(keys)) == len(keys) == 6
    assert all(key.count("\n") == 0 and len(key) < 512 and "," not in key for key in keys)


@pytest.mark.parametrize("version", ["latest", "1.0 evil", "--pre", "1.0;x", "https://example.com/x.whl", "1.0\n2"])
def test_a_version_is_nothing_but_a_version(checkout: SmallAction, version: str) -> None:
    said = checkout.run("where", code=1, version=version)[1]
    assert said.startswith("::error::version: ")
    assert len(said.splitlines()) == 1


def test_a_python_that_is_too_old_is_told_what_to_do(checkout: SmallAction) -> None:
    script = checkout.root / "action/install.py"
    script.write_text(script.read_text(encoding="utf-8").replace("OLDEST = (3, 11)", "OLDEST = (99,)"))
    assert "set python-version" in checkout.run("where", code=1)[1]
