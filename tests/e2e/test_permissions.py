"""Permissions of models as desired state, from specs to the server and back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from program import Repo

from reconciler.api.client import Client
from reconciler.api.server import Server
from reconciler.server.local import open_local


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path)


def permitted(repo: Repo, model: str, *grant: str) -> list[str]:
    """Return who may use a model, after letting in some more as another person would."""

    async def look() -> list[str]:
        async with (
            open_local(repo.root / ".reconciler") as local,
            Client(Server("local", local.base_url, app=local.app)) as client,
        ):
            await client.grant(model, grant)
            return sorted(permission.project_id for permission in await client.permissions(model))

    return asyncio.run(look())


def test_permissions_follow_the_specs(repo: Repo) -> None:
    repo.spec("shop", permissions=["proj_a", "proj_b"])
    applied = repo.apply("--wait").json
    model = repo.jobs()["shop"]["fine_tuned_model"]
    (access,) = applied["permissions"]
    assert (access["grant"], access["outcome"]) == (["proj_a", "proj_b"], "done")
    assert permitted(repo, model, "proj_others") == ["proj_a", "proj_b", "proj_others"]
    repo.plan("--detailed-exitcode")

    repo.spec("shop", permissions=["proj_b", "proj_c"])
    planned = repo.run("plan", "--detailed-exitcode", code=2)
    assert "shop  + proj_c" in planned.out
    assert planned.out.endswith("1 unchanged, 1 permission to grant.\n")
    repo.apply()
    assert permitted(repo, model) == ["proj_a", "proj_b", "proj_c", "proj_others"], "nobody said that proj_a is ours"

    repo.write("reconciler.yaml", "owner: example.com/e2e\npolicy: {permissions: [proj_a, proj_c]}\n")
    assert "- proj_a" in repo.run("plan").out
    assert "revoke" in repo.run("plan", "--format", "markdown").out
    assert "- proj_a" in repo.run("apply", "--auto-approve").out
    assert permitted(repo, model) == ["proj_b", "proj_c", "proj_others"]
    repo.plan("--detailed-exitcode")
