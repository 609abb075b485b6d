"""What a pull request's base is read with: GitHub's token, for GitHub's own host."""

from __future__ import annotations

import base64
import json

import pytest

from reconciler.ci.base import credentials
from reconciler.ci.surroundings import Surroundings, read_surroundings


def test_the_token_is_for_githubs_host_and_takes_back_what_a_checkout_left() -> None:
    env = credentials(Surroundings(token="t0", server_url="https://ghes.example"))
    assert env["GIT_CONFIG_COUNT"] == "2"
    assert {env["GIT_CONFIG_KEY_0"], env["GIT_CONFIG_KEY_1"]} == {"http.https://ghes.example/.extraheader"}
    assert env["GIT_CONFIG_VALUE_0"] == ""
    assert base64.b64decode(env["GIT_CONFIG_VALUE_1"].split()[-1]) == b"x-access-token:t0"


def test_without_a_token_git_asks_nobody_for_one() -> None:
    assert credentials(Surroundings()) == {"GIT_TERMINAL_PROMPT": "0"}


@pytest.mark.parametrize(
    ("head", "fork"),
    [
        ({"repo": {"full_name": "acme/models"}}, False),
        ({"repo": {"full_name": "Acme/Models"}}, False),
        ({"repo": {"full_name": "mallory/models"}}, True),
        ({"repo": None}, True),
        ({}, True),
    ],
)
def test_what_is_not_surely_of_this_repository_is_a_fork(head: dict[str, object], fork: bool) -> None:
    payload = json.dumps({"pull_request": {"number": 7, "head": head}}).encode()
    env = {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_REPOSITORY": "acme/models"}
    assert read_surroundings(env, payload).fork is fork
