"""Four reconcilers at once on a server whose lists lag: one live job a spec, each time."""

from __future__ import annotations

import asyncio
import io
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import ledger
import pytest
import ryaml
from program import Repo

from reconciler.api.client import Client
from reconciler.api.files import Uploads
from reconciler.api.server import Server
from reconciler.apply.world import World
from reconciler.cache import Cache
from reconciler.loop import Reconciler, run_once
from reconciler.plan.model import Plan
from reconciler.plan.planner import Options
from reconciler.report.progress import progress
from reconciler.server.chaos.rules import Chaos, ChaosFile
from reconciler.server.context import Settings
from reconciler.server.local import running_app
from reconciler.spec.load import load
from reconciler.spec.policy import Policy

LAG = 0.3
RULES = f"rules: [{{fault: {{kind: lag, seconds: {LAG}}}, match: {{path: /fine_tuning/.*}}}}]"
NAMES = ("a", "b")


async def _yes(_: Plan) -> bool:
    return True


@asynccontextmanager
async def lagging(directory: Path) -> AsyncIterator[tuple[Any, Chaos]]:
    chaos = ChaosFile.model_validate(ryaml.loads(RULES)).begin(time.time())  # type: ignore[attr-defined]
    settings = Settings(chaos=chaos)
    async with running_app(directory, concurrency=1, speed=0.1, trainer="simulated", settings=settings) as app:
        yield app, chaos


async def reconcile(app: Any, repo: Repo) -> None:
    """Apply once, as a command on a machine of its own would."""
    desired = load([str(repo.root / "specs")]).desired
    server = Server("chaos", "http://chaos.test/v1", None, lag=2 * LAG)
    transport = httpx.ASGITransport(app=cast("Any", app))
    async with Client(server, transport=transport) as client:
        told = progress(io.StringIO(), interactive=False, color=False)
        reconciler = Reconciler(client, "chaos", "o/r", desired, Policy(), Options(), Cache(None), time.time)
        world = World(
            api=client,
            files=Uploads(client, repo.root),
            owner="o/r",
            specs=World.index(desired),
            follower=told,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            lag=server.lag,
        )
        await run_once(reconciler, world, _yes, view=await reconciler.look())
        assert [o.result for o in world.run.outcomes if o.result != "done"] == []


async def race(root: Path, rounds: int) -> None:
    repo = Repo.make(root / "repo", None)
    async with lagging(root / "server") as (app, chaos):
        for number in range(rounds):
            for name in NAMES:
                repo.spec(name, model="simulated-slow", rerun=str(number), hyperparameters={"n_epochs": 50})
            await asyncio.gather(*(reconcile(app, repo) for _ in range(4)))
            jobs = [j for j in ledger.jobs(root / "server") if j["status"] != "cancelled"]
            live = Counter(job["metadata"]["reconciler.name"] for job in jobs)
            assert live == dict.fromkeys(NAMES, 1), f"round {number}: {live}"
        assert chaos.report["rules"][0]["struck"] > 0


async def test_four_at_once_on_a_lagging_list_leave_one_live_job_a_spec(tmp_path: Path) -> None:
    await race(tmp_path, 5)


@pytest.mark.parametrize(
    "rounds", [pytest.param(15, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.soak)]
)
async def test_four_at_once_on_a_lagging_list_leave_one_live_job_a_spec_many_times(tmp_path: Path, rounds: int) -> None:
    await race(tmp_path, rounds)
