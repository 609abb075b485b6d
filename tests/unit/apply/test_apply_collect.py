"""Garbage: only what is ours, what nothing needs, and what still is so at the moment it goes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from reconciler.api.client import Client
from reconciler.api.server import Server
from reconciler.api.types import Job
from reconciler.apply.collect import Collected, Heap, collect, find_garbage
from reconciler.errors import ApiError, UnreliableListing
from reconciler.observe.listing import classify
from reconciler.observe.ownership import Ownership, stamp
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.garbage import Needs
from reconciler.spec.desired import DataFile, Desired

OWNER = "acme/models"
OLD, NEW = "a" * 16, "b" * 16
NOW, DAY = 1_000_000, 86_400


def data(letter: str) -> DataFile:
    return DataFile("data/train.jsonl", letter * 64, 100, 10)


def name(letter: str) -> str:
    return f"train.{letter * 16}.jsonl"


def job(job_id: str, file: str | None = None, **more: Any) -> dict[str, Any]:
    own = stamp(Ownership(more.pop("owner", OWNER), more.pop("name", "triage"), more.pop("revision", OLD), 1))
    facts = {"created_at": 100, "model": "gpt-4o-mini", "status": "succeeded", "metadata": own, "training_file": file}
    return {"id": job_id, "object": "fine_tuning.job", **facts, **more}


def file(file_id: str, letter: str, **more: Any) -> dict[str, Any]:
    return {"id": file_id, "created_at": 100, "filename": name(letter), "bytes": 100, **more}


def checkpoint(model: str, step: int = 1) -> dict[str, Any]:
    return {"id": f"ftckpt_{step}", "created_at": 100, "fine_tuned_model_checkpoint": model, "step_number": step}


@dataclass
class Place:
    """A server that holds these things, and lists two jobs a page."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)
    checkpoints: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    faults: dict[str, httpx.Response] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    silent: bool = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        last = path.rpartition("/")[2]
        if (fault := self.faults.get(f"{request.method} {path}")) is not None:
            return fault
        if request.method == "DELETE":
            self.deleted.append(last)
            self.gone.add(last)
            return _json({"id": last, "deleted": True})
        if path == "fine_tuning/jobs":
            return self._page(request)
        if last in {"files", "checkpoints"}:
            rows = self.files if last == "files" else self.checkpoints.get(path.split("/")[2], [])
            return _json({"object": "list", "data": [row for row in rows if row["id"] not in self.gone]})
        if last in self.gone:
            return _json({"error": {"message": "gone"}}, 404)
        return _json({"id": last, "created_at": 1, "filename": "f"})

    def _page(self, request: httpx.Request) -> httpx.Response:
        newest = sorted(self.jobs, key=lambda j: -j["created_at"])
        after = request.url.params.get("after")
        start = next((i + 1 for i, j in enumerate(newest) if j["id"] == after), 0)
        more = {} if self.silent else {"has_more": start + 2 < len(newest)}
        return _json({"object": "list", "data": newest[start : start + 2], **more})


def _json(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=json.dumps(body))


async def _asleep(_: float) -> None:
    """Take no time."""


def connect(place: Place) -> Client:
    return Client(Server("t", "https://h.test/v1"), transport=httpx.MockTransport(place), sleep=_asleep)


def seen(place: Place) -> Observed:
    rows = (classify(Job.model_validate(each), OWNER) for each in place.jobs)
    return Observed(tuple(row for row in rows if isinstance(row, ObservedJob)))


async def found(place: Place, *desired: Desired, before: float = NOW - DAY) -> Heap:
    async with connect(place) as client:
        return await find_garbage(client, OWNER, desired, seen(place), before=before)


def spec(letter: str = "e", **more: Any) -> Desired:
    return Desired(**{"name": "triage", "revision": NEW, "model": "gpt-4o-mini", "training_file": data(letter), **more})


def ids(heap: Heap) -> list[str]:
    return [item.id for item in heap.items]


async def test_a_file_that_only_ended_jobs_of_ours_used_can_go() -> None:
    heap = await found(Place([job("ftjob-1", "file-1")], [file("file-1", "c")]), spec())
    (item,) = heap.items
    assert (item.kind, item.id, item.name, item.size, item.job_id) == ("file", "file-1", name("c"), 100, "ftjob-1")
    assert heap.size == 100


@pytest.mark.parametrize(
    ("place", "desired"),
    [
        pytest.param(Place([job("j", "file-1")], [file("file-1", "e")]), spec(), id="a spec has this data"),
        pytest.param(
            Place([job("j", "file-1")], [file("file-1", "c")]),
            spec(validation_file=data("c")),
            id="a spec validates with it",
        ),
        pytest.param(
            Place([job("j", "file-1")], [file("file-1", "c")]), spec(training_file="file-1"), id="a spec names its id"
        ),
        pytest.param(
            Place([job("j", "file-1", status="running")], [file("file-1", "c")]), spec(), id="a job of ours runs"
        ),
        pytest.param(
            Place([job("j", "file-1", status="odd")], [file("file-1", "c")]), spec(), id="a status nobody knows"
        ),
        pytest.param(
            Place(
                [job("j", "file-1"), job("k", "file-2", validation_file="file-1", owner="other")], [file("file-1", "c")]
            ),
            spec(),
            id="another owner used it",
        ),
        pytest.param(
            Place([job("j", "file-1"), job("k", "file-1", metadata=None)], [file("file-1", "c")]),
            spec(),
            id="an unowned job used it",
        ),
        pytest.param(
            Place(
                [job("j", "file-1"), job("k", "file-1", metadata={"reconciler.owner": OWNER})], [file("file-1", "c")]
            ),
            spec(),
            id="a malformed job used it",
        ),
        pytest.param(Place([], [file("file-1", "c")]), spec(), id="no job ever used it"),
        pytest.param(
            Place([job("j", "file-1")], [file("file-1", "c", filename="train.jsonl")]), spec(), id="named by hand"
        ),
        pytest.param(Place([job("j", "file-1")], [file("file-1", "c", created_at=NOW)]), spec(), id="too new"),
    ],
)
async def test_a_file_stays(place: Place, desired: Desired) -> None:
    assert ids(await found(place, desired)) == []


async def test_what_a_job_of_ours_needs_that_no_list_shows_yet_stays() -> None:
    place = Place([job("j", "file-1")], [file("file-1", "c")])
    observed = seen(Place([*place.jobs, job("made", "file-1", status="queued", created_at=NOW)]))
    async with connect(place) as client:
        heap = await find_garbage(client, OWNER, [spec()], observed, before=NOW - DAY)
    assert ids(heap) == []


def trained(**current: Any) -> Place:
    """A superseded job with two checkpoints and its model, and the current one."""
    place = Place(
        [job("ftjob-old", fine_tuned_model="ft:m"), job("ftjob-new", **{"revision": NEW, "created_at": 200, **current})]
    )
    place.checkpoints["ftjob-old"] = [checkpoint("ft:m:1", 1), checkpoint("ft:m:2", 2), checkpoint("ft:m", 3)]
    place.checkpoints["ftjob-new"] = [checkpoint("ft:n:1", 1)]
    return place


async def test_checkpoints_of_superseded_revisions_can_go_and_the_model_at_the_end_stays() -> None:
    heap = await found(trained(), spec())
    assert [(i.kind, i.id, i.name, i.job_id) for i in heap.items] == [
        ("model", "ft:m:1", "triage", "ftjob-old"),
        ("model", "ft:m:2", "triage", "ftjob-old"),
    ]


@pytest.mark.parametrize(
    ("place", "desired", "left"),
    [
        pytest.param(trained(status="running"), [spec()], [], id="the successor has no model yet"),
        pytest.param(trained(status="failed"), [spec()], [], id="the successor failed"),
        pytest.param(trained(), [spec(protect=True)], [], id="protected"),
        pytest.param(trained(), [spec(name="another")], [], id="no spec"),
        pytest.param(trained(), [spec(), spec(name="x", model="ft:m:1")], ["ft:m:2"], id="a spec starts from it"),
    ],
)
async def test_checkpoints_stay(place: Place, desired: list[Desired], left: list[str]) -> None:
    assert ids(await found(place, *desired)) == left


async def test_a_checkpoint_that_anybodys_unfinished_job_starts_from_stays() -> None:
    place = trained()
    place.jobs.append(job("k", owner="other", model="ft:m:2", status="queued"))
    assert ids(await found(place, spec())) == ["ft:m:1"]


async def test_a_checkpoint_that_was_deleted_is_not_listed_again() -> None:
    place = trained()
    place.gone.add("ft:m:1")
    assert ids(await found(place, spec())) == ["ft:m:2"]


async def test_a_listing_that_contradicts_itself_finds_nothing() -> None:
    place = Place([job("ftjob-1", "file-1"), job("ftjob-1", "file-1")], [file("file-1", "c")])
    with pytest.raises(UnreliableListing):
        await found(place, spec())


@pytest.mark.parametrize("path", ["files", "fine_tuning/jobs", "fine_tuning/jobs/ftjob-old/checkpoints"])
async def test_a_reading_that_fails_finds_nothing(path: str) -> None:
    place = trained()
    place.faults[f"GET {path}"] = _json({}, 500)
    with pytest.raises(ApiError):
        await found(place, spec())


async def ends(place: Place, heap: Heap) -> list[Collected]:
    async with connect(place) as client:
        return await collect(client, heap)


async def test_everything_found_is_deleted_one_by_one() -> None:
    place = trained()
    place.jobs.append(job("ftjob-1", "file-1"))
    place.files.append(file("file-1", "c"))
    done = await ends(place, await found(place, spec()))
    assert {end.result for end in done} == {"deleted"}
    assert place.deleted == ["file-1", "ft:m:1", "ft:m:2"]
    assert ids(await found(place, spec())) == []


@pytest.mark.parametrize("others", [0, 1, 5])
async def test_what_a_new_job_needs_stays(others: int) -> None:
    """However many jobs came with it."""
    place = Place([job("ftjob-1", "file-1")], [file("file-1", "c")])
    heap = await found(place, spec())
    place.jobs += [job(f"new-{n}", created_at=300 + n) for n in range(others)]
    place.jobs.append(job("needy", "file-1", owner="other", status="validating_files", created_at=200))
    (end,) = await ends(place, heap)
    assert (end.result, end.detail) == ("kept", "needy needs it now")
    assert place.deleted == []


async def test_what_a_job_needs_that_is_listed_late_stays() -> None:
    """It is older than jobs that the first reading had, and so stands behind them."""
    jobs = [job("ftjob-1", "file-1"), *(job(f"known-{n}", created_at=300 + n) for n in range(3))]
    place = Place(jobs, [file("file-1", "c")])
    heap = await found(place, spec())
    place.jobs.append(job("needy", "file-1", owner="other", status="validating_files", created_at=299))
    (end,) = await ends(place, heap)
    assert (end.result, end.detail) == ("kept", "needy needs it now")


async def test_what_a_new_job_needs_stays_where_the_server_does_not_say_that_more_follows() -> None:
    place = Place([job("ftjob-1", "file-1")], [file("file-1", "c")], silent=True)
    heap = await found(place, spec())
    place.jobs += [job(f"new-{n}", created_at=300 + n) for n in range(3)]
    place.jobs.append(job("needy", "file-1", owner="other", status="validating_files", created_at=200))
    (end,) = await ends(place, heap)
    assert (end.result, end.detail) == ("kept", "needy needs it now")


async def test_a_listing_that_contradicts_itself_before_a_delete_keeps_everything() -> None:
    place = Place([job("ftjob-1", "file-1")], [file("file-1", "c")])
    heap = await found(place, spec())
    place.jobs += [job("twice", created_at=300)] * 2
    (end,) = await ends(place, heap)
    assert end.result == "failed"
    assert isinstance(end.error, UnreliableListing)
    assert place.deleted == []


async def test_what_is_gone_meanwhile_is_no_error() -> None:
    place = Place([job("ftjob-1", "file-1")], [file("file-1", "c")])
    heap = await found(place, spec())
    place.gone.add("file-1")
    assert [end.result for end in await ends(place, heap)] == ["kept"]


async def test_what_the_server_still_needs_is_kept_and_the_rest_goes() -> None:
    place = Place([job("ftjob-1", "file-1", validation_file="file-2")], [file("file-1", "c"), file("file-2", "d")])
    place.faults["DELETE files/file-1"] = _json({"error": {"message": "in use"}}, 409)
    assert [end.result for end in await ends(place, await found(place, spec()))] == ["kept", "deleted"]


@pytest.mark.parametrize("call", ["DELETE files/file-1", "GET fine_tuning/jobs", "GET files/file-1"])
async def test_after_an_error_nothing_more_is_deleted(call: str) -> None:
    place = Place([job("ftjob-1", "file-1", validation_file="file-2")], [file("file-1", "c"), file("file-2", "d")])
    heap = await found(place, spec())
    place.faults[call] = _json({"error": {"message": "no"}}, 403)
    done = await ends(place, heap)
    assert [end.result for end in done] == ["failed", "skipped"]
    assert done[0].error is not None
    assert place.deleted == []


def test_needs_are_those_of_specs_and_unfinished_jobs() -> None:
    assert Needs.of([], []) == Needs(frozenset(), frozenset())
    assert Needs.of([spec()], []).digests == {"e" * 16}
