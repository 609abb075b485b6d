"""``reconciler.yaml``, and whose jobs these are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from reconciler.errors import SpecError, UsageError
from reconciler.spec.config import Config, Server, ServerProfile, load_config, resolve_owner
from reconciler.spec.policy import Budget, MaxActive, MaxPrune, Policy, Price
from reconciler.spec.remote import git_remote, repository

FULL = """\
owner: acme/models
server: azure
servers:
  azure: {base_url: "https://acme.openai.azure.com/openai/v1", key_env: AZURE_KEY, auth: api-key, lag: 5}
  mine: {base_url: "http://127.0.0.1:8000/v1", organization_env: ORG, project_env: PROJECT}
policy:
  allowed_models: ["gpt-*"]
  max_active: {total: 3, models: {"o4-*": 1}}
  max_prune: 5
  budget: {creates: 4, tokens: 1000000}
environments:
  prod:
    owner_suffix: live
    server: {profile: mine, lag: 0.5}
    policy: {max_active: {total: 9}, max_prune: 30%, on_cancelled: recreate}
    overrides: {seed: 1}
  dev: {}
"""


def config(text: str, tmp_path: Path) -> Config:
    (tmp_path / "reconciler.yaml").write_text(text)
    return load_config(tmp_path)[0]


def test_every_setting_arrives(tmp_path: Path) -> None:
    full = config(FULL, tmp_path)
    assert (full.owner, full.server) == ("acme/models", "azure")
    assert full.servers["azure"] == ServerProfile(
        base_url="https://acme.openai.azure.com/openai/v1", key_env="AZURE_KEY", auth="api-key", lag=5
    )
    assert full.policy == Policy(
        allowed_models=("gpt-*",),
        max_active=MaxActive(total=3, models={"o4-*": 1}),
        max_prune=MaxPrune(count=5),
        budget=Budget(creates=4, tokens=1_000_000),
    )
    assert full.environments["prod"].overrides == {"seed": 1}


def test_an_environment_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    full = config(FULL, tmp_path)
    prod = full.within("prod")
    assert prod.server == Server(profile="mine", lag=0.5)
    assert prod.policy.max_active == MaxActive(total=9, models={"o4-*": 1})
    assert prod.policy.max_prune == MaxPrune(count=5, share=0.3)
    assert (prod.policy.on_cancelled, prod.policy.allowed_models) == ("recreate", ("gpt-*",))
    assert full.within("dev") == full
    assert full.within(None) is full


def test_an_unknown_environment_is_said_with_the_way_to_make_one() -> None:
    with pytest.raises(UsageError) as caught:
        Config().within("prod")
    assert caught.value.hint == "Known environments: none; add it to reconciler.yaml."


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("policy: {max_active: 3}", Policy(max_active=MaxActive(total=3))),
        ("policy: {max_prune: 0}", Policy(max_prune=MaxPrune(count=0))),
        ("policy: {prices: {m: 0.5}}", Policy(prices={"m": Price(per_million=0.5)})),
        (
            "policy: {prices: {m: {per_million: 3, currency: EUR}}}",
            Policy(prices={"m": Price(per_million=3, currency="EUR")}),
        ),
        ("policy: {max_prune: 30 %}", Policy(max_prune=MaxPrune(share=0.3))),
        ("policy: {max_prune: {share: 1}}", Policy(max_prune=MaxPrune(share=1))),
        ("# nothing said", Policy()),
    ],
)
def test_limits_have_short_forms(text: str, policy: Policy, tmp_path: Path) -> None:
    assert config(text, tmp_path).policy == policy


def test_without_settings_nothing_is_said(tmp_path: Path) -> None:
    assert load_config(tmp_path) == (Config(), None)


@pytest.mark.parametrize(
    "text",
    [
        "server: {base_url: 'https://h/v1', key_env: SECRET}",
        "server: {base_url: 'https://h/v1', api_key: SECRET}",
        "server: {base_url: 'https://me:SECRET@h/v1'}",
        "server: https://me:SECRET@h/v1",
        "server: https://h/v1?key=SECRET",
        "owner: [SECRET]",
        "owner: SECRET\nowner: x",
        "policy: {on_cancelled: SECRET}",
        "policy: {max_prune: SECRET}",
        "policy: {prices: {m: SECRET}}",
        "policy: {prices: {m: {per_million: 1, currency: SECRET}}}",
        "environments: {a: {server: {base_url: 'https://SECRET@h/v1'}}}",
    ],
)
def test_what_looks_like_a_key_is_refused_and_never_repeated(text: str, tmp_path: Path) -> None:
    secret = "sk-proj-Zm9vYmFyYmF6cXV4"
    with pytest.raises(SpecError) as caught:
        config(text.replace("SECRET", secret), tmp_path)
    assert secret not in f"{caught.value} {caught.value.hint} {caught.value.problems}"


@pytest.mark.parametrize("suffix", ["directory", "bytes"])
def test_settings_that_cannot_be_read_are_a_problem(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "reconciler.yaml"
    path.mkdir() if suffix == "directory" else path.write_bytes(b"\xff\xff")
    with pytest.raises(SpecError, match=r"^reconciler\.yaml"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/models.git", "github.com/acme/models"),
        ("https://me:token@GitHub.com/acme/models", "github.com/acme/models"),
        ("https://oauth2:token@gitlab.com/group/sub/models.git/", "gitlab.com/group/sub/models"),
        ("git@github.com:acme/models.git", "github.com/acme/models"),
        ("github.com:acme/models", "github.com/acme/models"),
        ("ssh://git@github.com:22/acme/models.git", "github.com/acme/models"),
        ("git://example.org/models", "example.org/models"),
        ("https://example.org:8443/acme/models?token=x", "example.org/acme/models"),
        ("file:///srv/models.git", None),
        ("/srv/models.git", None),
        ("../models", None),
        ("C:\\models", None),
        ("https://[bad/x", None),
        ("https://github.com", None),
        ("", None),
    ],
)
def test_a_remote_is_reduced_to_host_and_path(url: str, name: str | None) -> None:
    assert repository(url) == name


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("remotes", "name"),
    [
        ({}, None),
        ({"origin": "git@h.org:a/b.git"}, "h.org/a/b"),
        ({"up.stream": "https://h.org/a/b"}, "h.org/a/b"),
        ({"fork": "https://h.org/f/b", "origin": "https://h.org/a/b"}, "h.org/a/b"),
        ({"fork": "https://h.org/f/b", "other": "https://h.org/a/b"}, None),
    ],
)
def test_the_remote_is_origin_or_the_only_one(remotes: dict[str, str], name: str | None, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    for remote, url in remotes.items():
        git(tmp_path, "remote", "add", remote, url)
    assert git_remote(tmp_path) == name


def test_a_machine_without_git_has_no_remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_remote(tmp_path) is None


@pytest.mark.parametrize(
    ("known", "owner"),
    [
        ({"flag", "variable", "setting", "remote"}, "flag"),
        ({"variable", "setting", "remote"}, "variable"),
        ({"setting", "remote"}, "setting"),
        ({"remote"}, "h.org/a/b"),
        (set(), "local"),
    ],
)
@pytest.mark.parametrize(("environment", "suffix"), [(None, ""), ("prod", "@live"), ("dev", "@dev")])
def test_the_nearest_word_on_the_owner_wins(
    known: set[str], owner: str, environment: str | None, suffix: str, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q")
    if "remote" in known:
        git(tmp_path, "remote", "add", "origin", "https://h.org/a/b")
    setting = {"owner": "setting"} if "setting" in known else {}
    settings = Config.model_validate(setting | {"environments": {"prod": {"owner_suffix": "live"}, "dev": {}}})
    env = {"RECONCILER_OWNER": "variable" if "variable" in known else ""}
    flag = "flag" if "flag" in known else None
    given = resolve_owner(settings, flag=flag, env=env, root=tmp_path, environment=environment, local=True)
    assert given == owner + suffix


def test_no_owner_is_a_wrong_command_that_names_all_the_ways(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_owner(Config(), flag=None, env={}, root=tmp_path, environment=None, local=False)
    assert all(way in caught.value.hint for way in ("--owner", "RECONCILER_OWNER", "reconciler.yaml", "git remote"))


@pytest.mark.parametrize("owner", ["x" * 513, "a\nb", "a\x1b[31m", " a"])
def test_an_owner_is_one_printable_line_that_fits_into_metadata(owner: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 512"):
        resolve_owner(Config(), flag=owner, env={}, root=tmp_path, environment=None, local=False)
