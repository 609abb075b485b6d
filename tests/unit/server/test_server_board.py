from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from serving import LASTING, Serve, create, everything, reach, trained, upload, wait_for_step
from starlette.exceptions import HTTPException

from reconciler.server.board import Board
from reconciler.server.context import Context
from reconciler.ui.source import UNOWNED, Query

OWNER = "reconciler.owner"


@pytest.fixture
def fleet(serve: Serve, tmp_path: Path) -> tuple[Board, dict[str, str]]:
    """Return a board, and the ids of some jobs that go on for long."""
    client = serve(tmp_path, speed=0.2)
    file = upload(client)
    labels: dict[str, dict[str, Any]] = {
        "mine": {"metadata": {OWNER: "us", "reconciler.name": "Triage"}},
        "theirs": {"metadata": {OWNER: "them", "team": "50%_off"}},
        "nobodys": {"suffix": "wild"},
    }
    ids = {name: create(client, file, **LASTING, **fields)["id"] for name, fields in labels.items()}
    here: Context = client.app.state.context  # type: ignore[attr-defined]
    return Board(here, owner_key=OWNER), ids


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), ["nobodys", "theirs", "mine"]),
        (Query(owner="us"), ["mine"]),
        (Query(owner=UNOWNED), ["nobodys"]),
        (Query(owner="us' OR '1'='1"), []),
        (Query(text="triAGE"), ["mine"]),
        (Query(text="WILD"), ["nobodys"]),
        (Query(text="%"), ["theirs"]),
        (Query(text="_"), ["theirs"]),
        (Query(text="simulated-slow"), ["nobodys", "theirs", "mine"]),
        (Query(text="triage", owner="them"), []),
        (Query(limit=1, offset=1), ["theirs"]),
        (Query(statuses=("succeeded", "failed")), []),
    ],
)
async def test_jobs_are_found_newest_first(fleet: tuple[Board, dict[str, str]], query: Query, found: list[str]) -> None:
    board, ids = fleet
    listing = await board.jobs(query)
    assert [entry.job["id"] for entry in listing.entries] == [ids[name] for name in found]
    assert listing.owners == ["them", "us"]


async def test_counts_are_of_every_status_whatever_was_asked_for(fleet: tuple[Board, dict[str, str]]) -> None:
    board, ids = fleet
    await board.act(ids["mine"], "cancel")
    listing = await board.jobs(Query(statuses=("cancelled",), owner="us"))
    assert listing.counts == {"cancelled": 1}
    listing = await board.jobs(Query(statuses=("cancelled",)))
    assert listing.counts["cancelled"] == 1
    assert sum(listing.counts.values()) == 3


async def test_whatever_happens_to_a_job_is_another_version(fleet: tuple[Board, dict[str, str]]) -> None:
    board, ids = fleet
    await board.act(ids["theirs"], "cancel")
    before = await board.version()
    await board.act(ids["nobodys"], "cancel")
    assert await board.version() != before


async def test_what_the_api_refuses_is_refused_here_with_its_words(fleet: tuple[Board, dict[str, str]]) -> None:
    board, ids = fleet
    await board.act(ids["mine"], "cancel")
    with pytest.raises(HTTPException, match="cannot be paused"):
        await board.act(ids["mine"], "pause")
    with pytest.raises(HTTPException, match="No such"):
        await board.act("ftjob-none", "cancel")


async def test_a_job_is_shown_with_its_steps_checkpoints_and_what_may_be_done(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path)
    job = trained(client, hyperparameters={"n_epochs": 2, "batch_size": 4})
    board = Board(client.app.state.context, owner_key=OWNER)  # type: ignore[attr-defined]
    found = await board.job(job["id"])
    assert found is not None
    assert found.entry.job == job
    assert [data["step"] for data in found.steps] == list(range(1, 21))
    assert found.entry.progress == found.steps[-1]
    assert [point["step_number"] for point in found.checkpoints] == [20, 10]
    assert found.verbs == ()
    assert await board.job("ftjob-none") is None


async def test_events_come_with_and_without_steps_page_by_page(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path)
    job = trained(client)
    board = Board(client.app.state.context, owner_key=OWNER)  # type: ignore[attr-defined]
    known = everything(client, job["id"], "events")[::-1]
    for steps in (True, False):
        wanted = [event for event in known if steps or event["type"] != "metrics"]
        found: list[Any] = []
        more = True
        while more:
            page = await board.events(job["id"], after=found[-1]["id"] if found else None, limit=4, steps=steps)
            assert page is not None
            found += page.events
            more = page.has_more
        assert found == wanted
    assert await board.events("ftjob-none", after=None, limit=4, steps=True) is None


async def test_a_running_job_may_be_paused_and_a_paused_one_resumed(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path, speed=0.2)
    job_id = create(client, upload(client), **LASTING)["id"]
    board = Board(client.app.state.context, owner_key=OWNER)  # type: ignore[attr-defined]
    wait_for_step(client, job_id)
    for verb, others in (("pause", ("cancel", "pause")), ("resume", ("cancel", "resume"))):
        found = await board.job(job_id)
        assert found is not None
        assert tuple(sorted(found.verbs)) == others
        await board.act(job_id, verb)  # type: ignore[arg-type]
    reach(client, job_id, "running")
