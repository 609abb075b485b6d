"""What holds for every test.

None knows that it may itself run in a pipeline, in a hook of git's or behind a proxy, or what people have set for git,
for this program or for their terminal, and none is judged by a busy machine.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

_SET_FOR_OTHERS = ("GITHUB_", "RUNNER_", "ACTIONS_", "GIT_", "OPENAI_", "RECONCILER_")
_OF_TERMINALS = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}
_FOR_TESTS = {"OPENAI_OPENAPI_DOCUMENT"}
for name in {name for name in os.environ if name.startswith(_SET_FOR_OTHERS)} - _FOR_TESTS | _OF_TERMINALS:
    os.environ.pop(name, None)
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
for name in ("NO_PROXY", "no_proxy"):  # a proxy reaches none of the servers that tests run
    os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest, so that at the end no worker waits for another."""
    items.sort(key=_may_take, reverse=True)


def _may_take(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None else 0.0
