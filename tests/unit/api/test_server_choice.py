from __future__ import annotations

import pytest

from reconciler.api.server import OPENAI, Local, Profile, Server, resolve_server
from reconciler.errors import UsageError

KEY = "sk-secret-0123456789"
LAB = Profile("https://lab.example/v1", key_env="LAB_KEY")
BARE = Profile("http://10.0.0.5:8000/v1")


def resolve(choice: str | None = None, *, default: str | Profile | None = None, **env: str) -> Server | Local:
    return resolve_server(choice, default=default, profiles={"lab": LAB, "bare": BARE}, env=env)


@pytest.mark.parametrize(
    ("choice", "default", "env", "expected"),
    [
        ("bare", "lab", {"RECONCILER_SERVER": "local", "OPENAI_API_KEY": KEY}, "http://10.0.0.5:8000/v1"),
        (None, "lab", {"RECONCILER_SERVER": "bare", "OPENAI_API_KEY": KEY}, "http://10.0.0.5:8000/v1"),
        (None, "bare", {"OPENAI_API_KEY": KEY}, "http://10.0.0.5:8000/v1"),
        (None, BARE, {"OPENAI_API_KEY": KEY}, "http://10.0.0.5:8000/v1"),
        (None, None, {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://h:1/v1/"}, "http://h:1/v1"),
        (None, None, {"OPENAI_BASE_URL": "http://h:1/v1"}, "http://h:1/v1"),
        (None, None, {"OPENAI_API_KEY": KEY, "RECONCILER_SERVER": ""}, OPENAI),
        ("HTTPS://Host.Example/V1//x/", None, {}, "https://host.example/V1/x"),
        ("https://acme.openai.azure.com", None, {"OPENAI_API_KEY": KEY}, "https://acme.openai.azure.com/openai/v1"),
        ("https://acme.openai.azure.com/openai/v1/", None, {}, "https://acme.openai.azure.com/openai/v1"),
    ],
)
def test_the_first_way_of_naming_a_server_decides(
    choice: str | None, default: str | Profile | None, env: dict[str, str], expected: str
) -> None:
    server = resolve(choice, default=default, **env)
    assert isinstance(server, Server)
    assert server.base_url == expected


@pytest.mark.parametrize("where", ["choice", "default", "variable"])
def test_local_is_left_to_be_opened(where: str) -> None:
    variables = {"RECONCILER_SERVER": "local"} if where == "variable" else {}
    choice = "local" if where == "choice" else None
    assert resolve(choice, default="local" if where == "default" else None, **variables) == Local()


def test_with_neither_key_nor_server_both_ways_are_named() -> None:
    with pytest.raises(UsageError) as caught:
        resolve()
    assert "OPENAI_API_KEY" in caught.value.hint
    assert "--server local" in caught.value.hint
    assert caught.value.exit_code == 64


def test_openai_without_a_key_is_an_error() -> None:
    with pytest.raises(UsageError, match="needs a key"):
        resolve(OPENAI)


def test_a_profile_whose_variable_is_unset_names_the_variable() -> None:
    with pytest.raises(UsageError, match="LAB_KEY, which is not set"):
        resolve("lab", OPENAI_API_KEY=KEY)


def test_a_profile_takes_its_own_key_and_no_other() -> None:
    lab, bare = resolve("lab", LAB_KEY="lab-key", OPENAI_API_KEY=KEY), resolve("bare", OPENAI_API_KEY=KEY)
    assert isinstance(lab, Server)
    assert isinstance(bare, Server)
    assert (lab.key, lab.key_env, bare.key) == ("lab-key", "LAB_KEY", None)


def test_organization_and_project_come_from_the_environment() -> None:
    profile = Profile("https://h/v1", organization_env="ORG", project_env="PROJ", lag=3)
    named = resolve(default=profile, ORG="org-1", PROJ="proj_1")
    usual = resolve(OPENAI_API_KEY=KEY, OPENAI_ORG_ID="org-2", OPENAI_PROJECT_ID="proj_2")
    assert isinstance(named, Server)
    assert isinstance(usual, Server)
    assert (named.organization, named.project, named.lag) == ("org-1", "proj_1", 3)
    assert (usual.organization, usual.project) == ("org-2", "proj_2")


@pytest.mark.parametrize(
    ("url", "auth"),
    [
        ("https://a.openai.azure.com", "api-key"),
        ("https://a.cognitiveservices.azure.com/openai/v1", "api-key"),
        ("https://openai.azure.com.evil.example/v1", "bearer"),
        ("https://h/v1", "bearer"),
    ],
)
def test_azure_is_known_by_its_host(url: str, auth: str) -> None:
    server = resolve(url)
    assert isinstance(server, Server)
    assert server.auth == auth


@pytest.mark.parametrize("key", ["sk-with space", "sk-line\n", "sk-\r\nX: y", "sk-ключ", "\tsk"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(UsageError, match="OPENAI_API_KEY holds") as caught:
        resolve(OPENAI_API_KEY=key)
    assert key.strip() not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("labb", "Did you mean 'lab'"),
        ("localhost:8000", "no profile"),
        ("ftp://host/v1", "no URL"),
        ("http://", "no URL"),
        ("http://[::1/v1", "no URL"),
        ("http://host:99999/v1", "no URL"),
        ("https://user:pass@host/v1", "user name or password"),
        ("https://host/v1?key=abc", "no query"),
        ("https://host/v 1", "no query, no fragment, no spaces"),
    ],
)
def test_an_unusable_choice_says_what_is_wrong(choice: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        resolve(choice)
    assert "pass@" not in str(caught.value)


def test_the_key_is_not_in_the_repr() -> None:
    assert KEY not in repr(resolve(OPENAI_API_KEY=KEY))
