from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fleet import NOW, OURS, REVISION, Fleet, Live, ended

from reconciler.api.client import Client
from reconciler.cache import Cache
from reconciler.errors import ApiError, InvalidRequest, NotThisApi, ServerFault, UnreliableListing
from reconciler.observe.listing import list_anyones, list_jobs
from reconciler.observe.memory import Reading
from reconciler.observe.ownership import OWNER
from reconciler.observe.state import ObservedJob


async def read(fleet: Fleet, cache: Cache | None = None, client: Client | None = None) -> Reading:
    fleet.calls.clear()
    async with client or fleet.client() as opened:
        return await list_jobs(opened, OURS, cache=cache or Cache(None), now=lambda: fleet.now)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache.db")


# A reading from nothing


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 101, 199, 200, 298, 299])
@pytest.mark.parametrize("cap", [2, 3, 100])
async def test_every_job_is_read_once_whatever_the_pages(count: int, cap: int) -> None:
    fleet = Fleet(*ended(count), cap=cap)
    assert set((await read(fleet)).rows) == {job.id for job in fleet.jobs}


async def test_pages_are_of_a_hundred() -> None:
    fleet = Fleet(*ended(298))
    await read(fleet)
    assert fleet.calls == ["list"] * 3


@pytest.mark.parametrize("filters", [True, False])
async def test_only_our_jobs_are_ours_whether_or_not_the_server_filters(filters: bool) -> None:
    fleet = Fleet(
        Live("a", 1),
        Live("b", 2, owner="github.com/other/models"),
        Live("c", 3, owner=None),
        Live("d", 4, revision="nonsense"),
        Live("e", 5, owner="github.com/other/models", revision="nonsense"),
        filters=filters,
    )
    rows = (await read(fleet)).rows
    assert [i for i, row in rows.items() if isinstance(row, ObservedJob)] == ["a"]
    assert [i for i, row in rows.items() if isinstance(row, str)] == ["d"]


async def test_a_job_is_reduced_to_what_planning_reads() -> None:
    more = {"fine_tuned_model": "ft:m:org:sfx:1", "error": {"code": "c", "message": "m"}, "seed": 7}
    row = (await read(Fleet(Live("a", 5, "failed", more=more)))).rows["a"]
    assert isinstance(row, ObservedJob)
    assert (row.name, row.revision, row.attempt, row.status) == ("triage", REVISION, 1, "failed")
    assert (row.suffix, row.error_code, row.error_message, row.seed) == ("sfx", "c", "m", 7)


# A listing that cannot be trusted

Lie = Callable[[dict[str, Any], httpx.QueryParams], dict[str, Any]]


def first(params: httpx.QueryParams) -> bool:
    return "after" not in params


LIES: dict[str, Lie] = {
    "repeats a row": lambda body, _: {**body, "data": [*body["data"], body["data"][-1]]},
    "is oldest first": lambda body, _: {**body, "data": body["data"][::-1]},
    "has one row out of order": lambda body, _: {**body, "data": [body["data"][1], body["data"][0], *body["data"][2:]]},
    "skips a row between pages": lambda body, params: body if first(params) else {**body, "data": body["data"][1:]},
    "ignores the cursor": lambda body, params: body if first(params) else {**body, "data": []},
    "says that more follows an empty page": lambda body, params: (
        {**body, "data": body["data"][:1], "has_more": True} if not first(params) else body
    ),
    "says that more follows nothing at all": lambda body, _: {**body, "data": [], "has_more": True},
}


class Lying(Fleet):
    """Lies in its first so many lists."""

    def __init__(self, lie: Lie, times: int, *jobs: Live, cap: int = 4) -> None:
        super().__init__(*jobs, cap=cap)
        self.lie, self.times = lie, times

    def page(self, params: httpx.QueryParams) -> dict[str, Any]:
        truth = super().page(params)
        told = self.lie(truth, params) if self.times > 0 else truth
        self.times -= told != truth
        return told


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_list_that_contradicts_itself_is_read_again(lie: Lie) -> None:
    fleet = Lying(lie, 2, *ended(8))
    assert len((await read(fleet)).rows) == 8
    assert fleet.now > NOW


@pytest.mark.parametrize("lie", list(LIES.values())[:3], ids=list(LIES)[:3])
async def test_a_single_page_that_contradicts_itself_is_refused(lie: Lie) -> None:
    with pytest.raises(UnreliableListing, match=r"is in it twice|is newer than"):
        await read(Lying(lie, 1000, *ended(8), cap=100))


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_list_that_goes_on_contradicting_itself_is_refused(lie: Lie) -> None:
    fleet = Lying(lie, 1000, *ended(8))
    with pytest.raises(UnreliableListing, match="contradicts itself") as caught:
        await read(fleet)
    assert "Nothing was concluded" in caught.value.hint
    assert len(fleet.calls) <= 9


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("times", [2, 1000])
async def test_a_list_of_anyones_jobs_is_held_to_the_same(lie: Lie, times: int) -> None:
    fleet = Lying(lie, times, *ended(8), Live("foreign", NOW, owner="them"))
    async with fleet.client() as client:
        if times == 2:
            assert [job.id for job in await list_anyones(client, {})] == [job.id for job in fleet.jobs]
        else:
            with pytest.raises(UnreliableListing, match="contradicts itself"):
                await list_anyones(client, {})


async def test_a_list_of_anyones_jobs_is_filtered_again() -> None:
    fleet = Fleet(Live("a", 1), Live("b", 2, owner="them"), filters=False)
    async with fleet.client() as client:
        assert [job.id for job in await list_anyones(client, {OWNER: "them"})] == ["b"]


async def test_what_a_lying_server_calls_its_jobs_is_safe_to_print() -> None:
    jobs = [Live("ftjob-\x1b[2Jx", NOW - 2), Live("ftjob-\x1b[2Jy", NOW - 1)]
    with pytest.raises(UnreliableListing, match="newer than") as caught:
        await read(Lying(LIES["is oldest first"], 1000, *jobs))
    assert "\x1b" not in str(caught.value)


async def test_a_server_that_repeats_its_first_page_is_refused() -> None:
    class Stuck(Fleet):
        def page(self, params: httpx.QueryParams) -> dict[str, Any]:
            return super().page(params.remove("after"))

    with pytest.raises(UnreliableListing, match="did not go on"):
        await read(Stuck(*ended(8), cap=4))


async def test_a_cursor_that_skips_jobs_of_the_same_second_is_refused() -> None:
    class BySecond(Fleet):
        """Goes on with what is strictly older than the cursor's job."""

        def page(self, params: httpx.QueryParams) -> dict[str, Any]:
            rows = self.rows(params)
            if cursor := next((row for row in rows if row["id"] == params.get("after")), None):
                rows = [row for row in rows if row["created_at"] < cursor["created_at"]]
            return {"object": "list", "data": rows[: self.cap], "has_more": len(rows) > self.cap}

    with pytest.raises(UnreliableListing):
        await read(BySecond(*(Live(f"ftjob-{n}", NOW - 100) for n in range(8)), cap=4))


async def test_a_cursor_that_the_server_no_longer_knows_starts_the_reading_anew() -> None:
    class Forgetful(Fleet):
        forgets = True

        def answer(self, body: dict[str, Any], status: int = 200) -> httpx.Response:
            if len(self.calls) == 2 and self.forgets:
                self.forgets = False
                return super().answer({"error": {"message": "unknown cursor"}}, 400)
            return super().answer(body, status)

    fleet = Forgetful(*ended(8), cap=4)
    assert len((await read(fleet)).rows) == 8


async def test_jobs_that_arrive_while_pages_are_read_neither_skip_nor_double_one() -> None:
    class Growing(Fleet):
        def page(self, params: httpx.QueryParams) -> dict[str, Any]:
            body = super().page(params)
            self.add(Live(f"ftjob-new-{len(self.calls)}", NOW + len(self.calls)))
            return body

    fleet = Growing(*ended(20), cap=4)
    before = {job.id for job in fleet.jobs}
    assert set((await read(fleet)).rows) == before


async def test_a_server_that_pages_by_position_is_read_again_when_jobs_arrive() -> None:
    class ByPosition(Fleet):
        """Remembers where a page ended as a number, so that a new job moves everything by one."""

        ends: dict[str, int] = {}  # noqa: RUF012 - one test, one server

        def page(self, params: httpx.QueryParams) -> dict[str, Any]:
            rows = self.rows(params)
            start = self.ends.get(params.get("after", ""), 0)
            data = rows[start : start + self.cap]
            self.ends |= {row["id"]: start + n + 1 for n, row in enumerate(data)}
            if len(self.calls) == 1:
                self.add(Live("ftjob-new", NOW))
            return {"object": "list", "data": data, "has_more": start + self.cap < len(rows)}

    fleet = ByPosition(*ended(10), cap=4)
    assert set((await read(fleet)).rows) == {job.id for job in fleet.jobs}
    assert len(fleet.jobs) == 11


@pytest.mark.parametrize("count", [0, 3, 4, 7, 8])
async def test_a_server_that_does_not_say_whether_more_follows_is_read_to_its_end(count: int) -> None:
    class Silent(Fleet):
        def page(self, params: httpx.QueryParams) -> dict[str, Any]:
            return {k: v for k, v in super().page(params).items() if k != "has_more"}

    assert len((await read(Silent(*ended(count), cap=4))).rows) == count


@pytest.mark.parametrize("count", [4, 7, 10])
async def test_a_server_that_guesses_more_from_a_full_page_is_read_to_its_end(count: int) -> None:
    class Guessing(Fleet):
        def page(self, params: httpx.QueryParams) -> dict[str, Any]:
            body = super().page(params)
            return {**body, "has_more": len(body["data"]) == self.cap}

    assert len((await read(Guessing(*ended(count), cap=4))).rows) == count


@pytest.mark.parametrize("page", [0, 1, 2])
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(500, {"error": {"message": "oops"}}, ServerFault), (200, {"object": "error"}, NotThisApi), (403, {}, ApiError)],
)
async def test_a_listing_that_fails_anywhere_is_no_listing(
    page: int, status: int, body: dict[str, Any], kind: type[ApiError]
) -> None:
    class Failing(Fleet):
        pages = 0

        def answer(self, truth: dict[str, Any], code: int = 200) -> httpx.Response:
            self.pages += 1
            return super().answer(truth, code) if self.pages <= page else super().answer(body, status)

    with pytest.raises(kind):
        await read(Failing(*ended(12), cap=4))


async def test_a_refused_first_page_is_told_as_it_is() -> None:
    class Closed(Fleet):
        def answer(self, body: dict[str, Any], _: int = 200) -> httpx.Response:
            return super().answer({"error": {"message": "wrong key"}}, 400) if body else super().answer(body)

    with pytest.raises(InvalidRequest, match="wrong key"):
        await read(Closed())


# A reading that builds on the last one


async def test_an_idle_repository_costs_one_request(cache: Cache) -> None:
    fleet = Fleet(*ended(1000))
    cold = await read(fleet, cache)
    assert (await read(fleet, cache)).rows == cold.rows
    assert fleet.calls == ["list"]


async def test_only_active_jobs_are_read_again(cache: Cache) -> None:
    fleet = Fleet(Live("deep", NOW - 2_000_000, "running"), *ended(300))
    await read(fleet, cache)
    fleet.move("deep", "succeeded")
    row = (await read(fleet, cache)).rows["deep"]
    assert isinstance(row, ObservedJob)
    assert row.status == "succeeded"
    assert fleet.calls == ["list", "/deep"]
    await read(fleet, cache)
    assert fleet.calls == ["list"]


async def test_many_active_jobs_are_read_as_a_list(cache: Cache) -> None:
    running = [Live(f"old-{n:03}", NOW - 2_000_000 + n, "running") for n in range(90)]
    fleet = Fleet(*running, *ended(200))
    await read(fleet, cache)
    await read(fleet, cache)
    assert fleet.calls == ["list"] * 3


async def test_new_jobs_are_found_before_the_known_ones(cache: Cache) -> None:
    fleet = Fleet(*ended(300))
    await read(fleet, cache)
    fleet.now += 100
    fleet.add(Live("new", NOW + 50))
    assert set((await read(fleet, cache)).rows) == {job.id for job in fleet.jobs}
    assert len(fleet.calls) == 2


async def test_a_job_that_a_list_showed_late_is_found(cache: Cache) -> None:
    """Newer jobs were listed before it, so a page of known jobs does not prove that it is known."""
    fleet = Fleet(*ended(150), Live("late", NOW - 5, visible=NOW + 4), *(Live(f"n{i:03}", NOW - 4) for i in range(150)))
    await read(fleet, cache)
    fleet.now += 5
    assert "late" in (await read(fleet, cache)).rows


async def test_an_unknown_job_older_than_the_lag_bound_makes_the_whole_list_be_read(cache: Cache) -> None:
    fleet = Fleet(*ended(500))
    await read(fleet, cache)
    fleet.add(Live("hidden-1", NOW - 1_000_000 - 30), Live("hidden-2", fleet.jobs[-1].created_at - 30))
    assert {"hidden-1", "hidden-2"} <= set((await read(fleet, cache)).rows)


async def test_a_server_without_a_clock_is_dated_by_its_newest_job(cache: Cache) -> None:
    fleet = Fleet(*ended(300), dated=False)
    await read(fleet, cache)
    assert len((await read(fleet, cache)).rows) == 300
    assert len(fleet.calls) == 2


async def test_an_application_in_this_process_is_dated_by_our_clock(cache: Cache) -> None:
    fleet = Fleet(*ended(300), dated=False)

    async def look() -> None:
        fleet.calls.clear()
        async with fleet.client(app=object()) as client:
            await list_jobs(client, OURS, cache=cache, now=lambda: fleet.now)

    await look()
    await look()
    assert fleet.calls == ["list"]


async def test_a_server_that_was_reset_is_read_anew(cache: Cache) -> None:
    fleet = Fleet(*ended(200), Live("busy", NOW - 9, "running"))
    await read(fleet, cache)
    fleet.jobs = [Live("other", NOW + 5)]
    assert set((await read(fleet, cache)).rows) == {"other"}
    fleet.jobs = []
    assert (await read(fleet, cache)).rows == {}
    assert (await read(fleet, cache)).rows == {}
    assert fleet.calls == ["list"]


async def test_what_a_reset_server_lost_is_not_kept(cache: Cache) -> None:
    fleet = Fleet(*ended(300))
    await read(fleet, cache)
    fleet.jobs = ended(300, start=1000)
    await read(fleet, cache)
    assert len((await read(fleet, cache)).rows) == 300
    assert fleet.calls == ["list"]


async def test_an_active_job_that_is_gone_makes_the_whole_list_be_read(cache: Cache) -> None:
    fleet = Fleet(Live("gone", NOW - 2_000_000, "running"), *ended(300))
    await read(fleet, cache)
    del fleet.jobs[0]
    assert "gone" not in (await read(fleet, cache)).rows
    assert fleet.calls == ["list", "/gone", *["list"] * 4, "/gone"]


@pytest.mark.parametrize("missing", ["ftjob-00000", "ftjob-00299"])
async def test_a_job_that_exists_and_is_missing_from_the_list_makes_it_unreliable(missing: str, cache: Cache) -> None:
    class Omitting(Fleet):
        omits = ""

        def rows(self, params: httpx.QueryParams) -> list[dict[str, Any]]:
            return [row for row in super().rows(params) if row["id"] != self.omits]

    fleet = Omitting(*ended(300))
    fleet.move("ftjob-00000", "running")
    await read(fleet, cache)
    fleet.omits = missing
    if missing == "ftjob-00000":  # deep down: only a reading to the end, which this one calls for, can miss it
        fleet.add(Live("ftjob-unknown", NOW - 500))
    with pytest.raises(UnreliableListing, match=f"{missing} exists and is missing"):
        await read(fleet, cache)


async def test_an_empty_list_does_not_make_known_jobs_vanish(cache: Cache) -> None:
    class Emptied(Fleet):
        empty = False

        def rows(self, params: httpx.QueryParams) -> list[dict[str, Any]]:
            return [] if self.empty else super().rows(params)

    fleet = Emptied(*ended(5))
    await read(fleet, cache)
    fleet.empty = True
    with pytest.raises(UnreliableListing, match="exists and is missing"):
        await read(fleet, cache)
    fleet.empty = False
    assert len((await read(fleet, cache)).rows) == 5


async def test_owners_and_servers_do_not_share_what_is_known(cache: Cache) -> None:
    fleet = Fleet(*ended(3), Live("theirs", NOW - 50, owner="them"), filters=False)
    await read(fleet, cache)
    async with fleet.client() as client:
        theirs = await list_jobs(client, "them", cache=cache, now=lambda: fleet.now)
    assert [i for i, row in theirs.rows.items() if isinstance(row, ObservedJob)] == ["theirs"]


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("open", {"ftjob-00000": ["short"]}),
        ("open", {"ftjob-other": None}),
        ("open", {"ftjob-other": 7}),
        ("open", None),
        ("about", {"fields": ["id"]}),
        ("about", {"time": None}),
        ("about", []),
    ],
)
async def test_a_damaged_cache_is_forgotten(part: str, damage: Any, cache: Cache) -> None:
    fleet = Fleet(*ended(300))
    cold = await read(fleet, cache)
    kind = f"jobs {OURS} https://host.test/v1 None None"
    whole = cache.load(kind)[part]
    cache.store(kind, {part: {**whole, **damage} if isinstance(damage, dict) else damage})
    assert (await read(fleet, cache)).rows == cold.rows
    assert len(fleet.calls) == 4
