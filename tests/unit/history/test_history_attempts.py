"""Which jobs are a spec's, in which order, and what they were made from."""

from __future__ import annotations

import asyncio

from reconciler.api.client import Client
from reconciler.api.server import Server
from reconciler.cache import Cache
from reconciler.history.attempts import Data, jobs_of, read_origins
from reconciler.history.commits import Past, Version
from reconciler.history.lineage import trace
from reconciler.observe.state import Observed, ObservedJob


def job(number: int, **more: object) -> ObservedJob:
    given = {"id": f"ftjob-{9 - number}", "name": "a", "revision": "r", "status": "failed", "created_at": 100}
    return ObservedJob(**{"attempt": number, **given, **more})  # type: ignore[arg-type]


def test_tries_of_one_second_stand_in_order() -> None:
    found = jobs_of(
        "a",
        [],
        Observed((job(1), job(3), job(2), job(4, name="b"), job(1, id="ftjob-x", created_at=200, revision="s"))),
    )
    assert [(j.revision, j.attempt) for j in found] == [("s", 1), ("r", 3), ("r", 2), ("r", 1)]


def test_data_that_a_commit_knows_is_not_asked_for() -> None:
    past = Past((Version("a", "r", "specs/a.yaml", 1, ("t.jsonl", "1" * 64), ("v.jsonl", "2" * 64), "c", 1),))
    nobody = Server("nobody", "http://127.0.0.1:9/v1", "key", lag=0)

    async def read() -> None:
        async with Client(nobody) as client:
            (origin,) = await read_origins(client, [job(1, training_file="file-1", validation_file="file-2")], past)
            assert origin.training == Data("file-1", "1" * 64, "t.jsonl")
            assert origin.validation == Data("file-2", "2" * 64, "v.jsonl")

    asyncio.run(read())


def test_models_that_were_started_from_each_other_end_the_line() -> None:
    ring = (
        job(1, status="succeeded", model="ft:b", fine_tuned_model="ft:a"),
        job(2, status="succeeded", model="ft:a", fine_tuned_model="ft:b"),
    )

    async def read() -> None:
        async with Client(Server("nobody", "http://127.0.0.1:9/v1", "key", lag=0)) as client:
            line = await trace(client, "ft:a", Observed(ring), Past(), Cache(None))
            assert [g.model for g in line] == ["ft:a", "ft:b"]

    asyncio.run(read())
