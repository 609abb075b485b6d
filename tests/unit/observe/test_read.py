from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet import NOW, OURS, REVISION, Fleet, Live

from reconciler.cache import Cache
from reconciler.errors import NotPermitted, ServerFault
from reconciler.observe.memory import FIELDS
from reconciler.observe.read import observe
from reconciler.observe.state import FileInfo, Observed
from reconciler.spec.desired import Adopt, DataFile, Desired, Upstream

OLD = f"{'f' * 16}.1"
DATA = DataFile("data/train.jsonl", "a" * 64, 100, 10)


def spec(name: str = "triage", **more: Any) -> Desired:
    return Desired(**{"name": name, "revision": REVISION, "model": "m", "training_file": DATA, **more})


async def seen(fleet: Fleet, desired: Sequence[Desired], cache: Cache | None = None) -> Observed:
    fleet.calls.clear()
    async with fleet.client() as client:
        return await observe(client, OURS, desired, cache=cache or Cache(None), now=lambda: fleet.now)


def checkpoint(step: int) -> dict[str, Any]:
    return {
        "id": f"ftckpt_{step}",
        "created_at": NOW,
        "fine_tuned_model_checkpoint": f"ft:m:o::x:ckpt-step-{step}",
        "step_number": step,
    }


async def test_our_jobs_come_oldest_first_and_malformed_ones_apart() -> None:
    fleet = Fleet(Live("b", 5), Live("a", 5), Live("old", 1), Live("odd", 9, revision="?"), Live("x", 7, owner="them"))
    observed = await seen(fleet, [])
    assert [job.id for job in observed.jobs] == ["old", "a", "b"]
    assert list(observed.malformed) == ["odd"]
    assert fleet.calls == ["list"]


# Adoption


async def test_a_job_made_elsewhere_is_adopted_under_the_specs_name() -> None:
    fleet = Fleet(Live("theirs", 5, owner=None))
    observed = await seen(fleet, [spec(adopt=Adopt("theirs", REVISION))])
    adopted = observed.adopted["theirs"]
    assert (adopted.name, adopted.revision, adopted.attempt) == ("triage", REVISION, 1)
    assert observed.jobs == ()


async def test_a_job_to_adopt_that_does_not_exist_is_left_out() -> None:
    assert (await seen(Fleet(), [spec(adopt=Adopt("gone", REVISION))])).adopted == {}


async def test_a_job_to_adopt_that_cannot_be_read_fails_the_observation() -> None:
    class Failing(Fleet):
        def answer(self, body: dict[str, Any], status: int = 200) -> httpx.Response:
            return super().answer(body, 500 if self.calls[-1] == "/theirs" else status)

    with pytest.raises(ServerFault):
        await seen(Failing(), [spec(adopt=Adopt("theirs", REVISION))])


async def test_a_listed_job_is_adopted_without_asking_again() -> None:
    fleet = Fleet(Live("ours", 5, name="other"))
    observed = await seen(fleet, [spec(adopt=Adopt("ours", REVISION))])
    assert observed.adopted["ours"].name == "triage"
    assert observed.jobs[0].name == "other"
    assert fleet.calls == ["list"]


@pytest.mark.parametrize(("status", "calls"), [("succeeded", ["list"]), ("running", ["list", "/theirs"])])
async def test_an_adopted_job_that_has_ended_is_read_once(status: str, calls: list[str], tmp_path: Path) -> None:
    fleet, cache = Fleet(Live("theirs", 5, status, owner=None)), Cache(tmp_path / "cache.db")
    desired = [spec(adopt=Adopt("theirs", REVISION))]
    first = await seen(fleet, desired, cache)
    assert await seen(fleet, desired, cache) == first
    assert fleet.calls == calls


async def test_a_damaged_cache_of_adopted_jobs_is_forgotten(tmp_path: Path) -> None:
    fleet, cache = Fleet(Live("theirs", 5, owner=None)), Cache(tmp_path / "cache.db")
    desired = [spec(adopt=Adopt("theirs", REVISION))]
    first = await seen(fleet, desired, cache)
    cache.store(f"adopted https://host.test/v1 None None {' '.join(FIELDS)}", {"theirs": 7})
    assert await seen(fleet, desired, cache) == first


# Checkpoints

BASE = "1111111111111111"


@pytest.mark.parametrize(
    ("selector", "status", "wanted"),
    [
        ("best", "succeeded", True),
        (10, "succeeded", True),
        (10, "failed", True),
        ("last", "succeeded", False),
        ("best", "running", False),
    ],
)
async def test_checkpoints_are_read_where_a_job_to_come_starts_from_one(
    selector: Any, status: str, wanted: bool
) -> None:
    fleet = Fleet(Live("base", 5, status, name="base", revision=f"{BASE}.1"))
    rows = {"object": "list", "data": [checkpoint(20), checkpoint(10)], "has_more": False}
    fleet.documents["/fine_tuning/jobs/base/checkpoints"] = rows
    desired = [spec("base", revision=BASE), spec("next", model=Upstream("base", selector))]
    observed = await seen(fleet, desired)
    steps = {job_id: [c.step_number for c in found] for job_id, found in observed.checkpoints.items()}
    assert steps == ({"base": [10, 20]} if wanted else {})
    assert ("/base/checkpoints" in fleet.calls) == wanted


@pytest.mark.parametrize(
    "desired",
    [
        [spec("base", revision=BASE), spec("triage", model=Upstream("base", "best"))],
        [spec("base", revision=BASE), spec("next", model=Upstream("base", "best"), state="paused")],
        [
            spec("base", revision=BASE),
            spec("next", revision=OLD[:16], model=Upstream("base", "best"), adopt=Adopt("a", OLD[:16])),
        ],
        [spec("next", model=Upstream("base", "best"))],
    ],
    ids=["has a job", "is paused", "adopts a job", "has no base"],
)
async def test_checkpoints_that_nothing_needs_are_not_read(desired: list[Desired]) -> None:
    fleet = Fleet(Live("base", 5, name="base", revision=f"{BASE}.1"), Live("mine", 6), Live("a", 7, owner=None))
    assert (await seen(fleet, desired)).checkpoints == {}


@pytest.mark.parametrize(("status", "read"), [("failed", True), ("cancelled", True), ("running", False)])
async def test_checkpoints_are_read_for_a_job_that_may_be_tried_again(status: str, read: bool) -> None:
    fleet = Fleet(Live("base", 5, name="base", revision=f"{BASE}.1"), Live("mine", 6, status))
    fleet.documents["/fine_tuning/jobs/base/checkpoints"] = {"object": "list", "data": [checkpoint(10)]}
    desired = [spec("base", revision=BASE), spec("triage", model=Upstream("base", "best"))]
    assert ("base" in (await seen(fleet, desired)).checkpoints) == read


@pytest.mark.parametrize("renamed_or_adopted", ["renamed", "adopted"])
async def test_the_base_of_a_chain_may_be_renamed_or_adopted(renamed_or_adopted: str) -> None:
    adopted = renamed_or_adopted == "adopted"
    fleet = Fleet(Live("j", 5, name="before", revision=f"{BASE}.1", owner=None if adopted else OURS))
    fleet.documents["/fine_tuning/jobs/j/checkpoints"] = {"object": "list", "data": [checkpoint(10)]}
    base = spec("base", revision=BASE, adopt=Adopt("j", BASE) if adopted else None)
    observed = await seen(fleet, [base, spec("next", model=Upstream("base", "best"))])
    assert [c.step_number for c in observed.checkpoints["j"]] == [10]


async def test_a_server_without_checkpoints_has_none() -> None:
    fleet = Fleet(Live("base", 5, name="base", revision=f"{BASE}.1"))
    desired = [spec("base", revision=BASE), spec("next", model=Upstream("base", "best"))]
    assert (await seen(fleet, desired)).checkpoints == {"base": ()}


# Files


def file(file_id: str) -> dict[str, Any]:
    return {"id": file_id, "created_at": 1, "filename": f"{file_id}.jsonl", "bytes": 7}


async def test_files_of_the_newest_other_revision_are_looked_up_for_the_diff() -> None:
    fleet = Fleet(
        Live("older", 4, revision=OLD, more={"training_file": "file-0"}),
        Live("newest", 5, revision=OLD, more={"training_file": "file-1", "validation_file": "file-2"}),
        Live("other", 6, name="unrelated", revision=OLD, more={"training_file": "file-3"}),
    )
    fleet.documents = {f"/files/file-{n}": file(f"file-{n}") for n in (0, 1, 3)}
    observed = await seen(fleet, [spec()])
    assert observed.files == {"file-1": FileInfo("file-1.jsonl", 7)}  # file-2 is gone from the server
    assert sorted(fleet.calls) == ["/files/file-1", "/files/file-2", "list"]


async def test_no_files_are_looked_up_for_a_converged_spec() -> None:
    fleet = Fleet(Live("old", 4, revision=OLD, more={"training_file": "file-0"}), Live("now", 5))
    assert (await seen(fleet, [spec()])).files == {}
    assert fleet.calls == ["list"]


async def test_no_files_are_looked_up_where_nobody_reads_the_diff() -> None:
    fleet = Fleet(Live("old", 4, revision=OLD, more={"training_file": "file-0"}))
    async with fleet.client() as client:
        await observe(client, OURS, [spec()], cache=Cache(None), now=lambda: fleet.now, files=False)
    assert fleet.calls == ["list"]


async def test_many_files_are_read_as_a_list() -> None:
    fleet = Fleet(
        *(Live(f"j{n}", n + 1, name=f"s{n}", revision=OLD, more={"training_file": f"file-{n}"}) for n in range(60))
    )
    fleet.documents["/files"] = {"object": "list", "data": [file(f"file-{n}") for n in range(59)]}
    observed = await seen(fleet, [spec(f"s{n}") for n in range(60)])
    assert set(observed.files) == {f"file-{n}" for n in range(59)}
    assert fleet.calls == ["list", "/files"]


@pytest.mark.parametrize("count", [1, 60])
async def test_a_key_that_may_not_see_files_still_gets_a_plan(count: int) -> None:
    class Closed(Fleet):
        def answer(self, body: dict[str, Any], status: int = 200) -> httpx.Response:
            return super().answer(body, 403 if "files" in self.calls[-1] else status)

    fleet = Closed(
        *(Live(f"j{n}", n + 1, name=f"s{n}", revision=OLD, more={"training_file": f"file-{n}"}) for n in range(count))
    )
    assert (await seen(fleet, [spec(f"s{n}") for n in range(count)])).files == {}


async def test_an_observation_is_brief_in_a_log() -> None:
    assert repr(await seen(Fleet(Live("a", 1)), [])) == "<Observed: 1 jobs>"


async def test_nothing_is_sent_but_reads() -> None:
    methods: set[str] = set()

    class Counting(Fleet):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            methods.add(request.method)
            return super().__call__(request)

    fleet = Counting(Live("base", 5, name="base", revision=f"{BASE}.1"), Live("old", 6, revision=OLD))
    await seen(
        fleet, [spec(adopt=Adopt("x", REVISION)), spec("base", revision=BASE), spec("n", model=Upstream("base", 3))]
    )
    assert methods == {"GET"}


async def test_a_refused_listing_is_no_observation() -> None:
    class Closed(Fleet):
        def __call__(self, _: httpx.Request) -> httpx.Response:
            return self.answer({}, 403)

    with pytest.raises(NotPermitted):
        await seen(Closed(Live("a", 1)), [spec()])


class Permitting(Fleet):
    """Answers for permissions too, with a status."""

    status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/permissions"):
            return super().__call__(request)
        self.calls.append("permissions")
        rows = [{"id": "cp_1", "created_at": 1, "project_id": "proj_a"}]
        return self.answer({"object": "list", "data": rows, "has_more": False}, self.status)


def permitting(status: int = 200) -> Permitting:
    fleet = Permitting(
        Live("a", 1, more={"fine_tuned_model": "ft:a"}), Live("b", 2, name="b", revision=OLD, status="running")
    )
    fleet.status = status
    return fleet


async def permissions(fleet: Permitting, *shared: str) -> Any:
    async with fleet.client() as client:
        found = await observe(
            client,
            OURS,
            [spec(), spec("b", revision="f" * 16)],
            cache=Cache(None),
            now=lambda: float(NOW),
            shared=shared,
        )
    return found.permissions


async def test_permissions_are_read_of_the_models_that_are_asked_for() -> None:
    fleet = permitting()
    found = await permissions(fleet, "triage", "b")
    assert [p.project_id for p in found["ft:a"]] == ["proj_a"]
    assert fleet.calls.count("permissions") == 1
    assert await permissions(permitting(), "b") == {}


async def test_a_key_that_may_not_see_permissions_knows_why() -> None:
    assert "HTTP 403" in (await permissions(permitting(403), "triage"))["ft:a"]


async def test_permissions_that_fail_for_now_fail_the_observation() -> None:
    with pytest.raises(ServerFault):
        await permissions(permitting(500), "triage")
