"""People are told once of each thing, in words that are only text, however often an address must be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.apply.model import Outcome
from reconciler.cache import Cache
from reconciler.errors import NotPermitted, ReconcilerError, ServerFault
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.drift import Drift
from reconciler.plan.model import Action, Change, Cost, Plan
from reconciler.spec.config import Config
from reconciler.spec.load import Repository
from reconciler.spec.notifications import Event, Notifications, Template
from reconciler.watch.addresses import Address, secrets_in
from reconciler.watch.delivery import AT_ONCE, Delivery, Message, digest
from reconciler.watch.engine import Seen
from reconciler.watch.notifications import things
from reconciler.watch.notifier import Notifier
from reconciler.watch.restraint import Held
from reconciler.watch.snapshot import Snapshot
from reconciler.watch.told import Told
from reconciler.watch.voice import Voice

NOW = 1_800_000_000.0
DAY = 86_400


def job(name: str = "a", status: str = "succeeded", **more: Any) -> ObservedJob:
    return ObservedJob(f"ftjob-{name}", name, "r1", 1, status, 1_790_000_000, **more)


def change(name: str, action: Action = Action.CREATE, reason: str = "why", **more: Any) -> Change:
    return Change(name, action, reason, revision="r1", **more)


def seen(*jobs: ObservedJob, changes: Iterable[Change] = (), words: Notifications | None = None, **more: Any) -> Seen:
    config = Config(notifications=words or Notifications())
    repository = Repository(Path(), config, (), None, (), ("specs",), empty=False)
    return Seen(Snapshot(repository), Observed(jobs=jobs), Plan.of("o", "s", list(changes)), **more)


def failed(change: Change, error: ReconcilerError) -> Outcome:
    return Outcome(change, "failed", error=error)


def blocked(name: str, job: str) -> Change:
    return change(name, Action.BLOCKED, job_id=f"ftjob-{job}")


DRIFT = Drift("a", "ftjob-a", "running", "paused", "is paused; the spec says running")


@pytest.mark.parametrize(
    ("look", "event", "reason"),
    [
        (seen(job(fine_tuned_model="ft:m:x")), "succeeded", "ft:m:x"),
        (seen(job(status="failed", error_message="no good")), "failed", "no good"),
        (seen(outcomes=(failed(change("a"), NotPermitted("no", status=403)),)), "failed", "create: no (HTTP 403)"),
        (seen(changes=[change("a", Action.BLOCKED, "its base failed")]), "blocked", "its base failed"),
        (seen(job(status="running"), changes=[blocked("a", "a")]), "blocked", "why"),
        (seen(held=(Held(change("a"), "budget", "was started 3 times"),)), "blocked", "was started 3 times"),
        (seen(job(status="cancelled")), "cancelled", ""),
        (seen(held=(Held(change("a"), "approval", "is a new run"),)), "approval", "why"),
        (seen(held=(Held(change("a", cost=Cost(1, 2.5, "USD")), "approval", ""),)), "approval", "why (about 2.50 USD)"),
        (seen(drift=(DRIFT,)), "drift", DRIFT.reason),
    ],
)
def test_what_is_worth_telling(look: Seen, event: str, reason: str) -> None:
    (thing,) = things(look)
    assert (thing.event, thing.spec, thing.reason) == (event, "a", reason)


@pytest.mark.parametrize(
    "look",
    [
        seen(job(status="running"), failures=2, failed="no answer"),
        seen(changes=[change("a"), change("b", Action.WAIT), change("c", Action.NONE)]),
        seen(held=tuple(Held(change("a"), kind, "") for kind in ("failed", "max-create", "policy", "cancel"))),
        seen(outcomes=(failed(change("a"), ServerFault("busy", status=503)),)),
        seen(outcomes=(Outcome(change("a"), "done"),)),
    ],
)
def test_what_is_not(look: Seen) -> None:
    assert list(things(look)) == []


@pytest.mark.parametrize(
    ("look", "event", "reason"),
    [
        (seen(limits=("would cancel 9 of 9", "buys 3")), "limits", "would cancel 9 of 9; buys 3"),
        (seen(failures=3, failed="no answer"), "server", "no answer"),
    ],
)
def test_what_is_of_no_spec_is_worth_telling_too(look: Seen, event: str, reason: str) -> None:
    (thing,) = things(look)
    assert (thing.event, thing.spec, thing.reason) == (event, "", reason)


def test_that_a_failed_job_blocks_its_spec_is_one_thing_with_its_failure() -> None:
    look = seen(job(status="failed"), changes=[blocked("a", "a"), blocked("b", "of-nobody")])
    assert [(thing.event, thing.spec) for thing in things(look)] == [("failed", "a"), ("blocked", "b")]


class Town:
    """People who are told, over restarts; ``now`` is in Unix seconds."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, NOW
        self.told = self.restart()

    def restart(self) -> Told:
        self.told = Told(Cache(self.root / "cache.db"), "told o s", clock=lambda: self.now)
        return self.told

    def news(self, look: Seen, *, tell: bool = True) -> list[str]:
        found = self.told.news(things(look))
        if tell:
            self.told.tell(thing.key for thing in found)
        return [f"{thing.event} {thing.spec}" for thing in found]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


def test_a_thing_is_news_once_over_restarts(town: Town) -> None:
    look = seen(job("old"), drift=(DRIFT,))
    assert town.news(look) == ["drift a"]
    assert town.news(look) == []
    town.restart()
    look = seen(job("old"), job("new", finished_at=int(NOW)), drift=(DRIFT,))
    assert town.news(look) == ["succeeded new"]
    assert town.news(look) == []


def test_what_was_not_taken_is_news_again_after_a_restart(town: Town) -> None:
    town.news(seen())
    assert town.news(seen(job()), tell=False) == ["succeeded a"]
    assert town.news(seen(job())) == []
    town.restart()
    assert town.news(seen(job())) == ["succeeded a"]


def test_ends_of_long_ago_are_no_news(town: Town) -> None:
    town.news(seen())
    town.restart()
    ends = [job("a", finished_at=int(NOW) - 2 * DAY), job("b", finished_at=int(NOW) - DAY // 2), job("c")]
    assert town.news(seen(*ends)) == ["succeeded b", "succeeded c"]


def test_what_comes_back_soon_is_the_same_thing_and_what_is_over_for_long_is_forgotten(town: Town) -> None:
    drifted = seen(job("old"), drift=(DRIFT,))
    assert town.news(drifted) == ["drift a"]
    for seconds, expected in ((60, []), (7_300, ["drift a"])):
        town.news(seen(job("old")))
        town.now += seconds
        town.news(seen(job("old")))
        assert town.news(drifted) == expected
    town.now += 3 * DAY
    town.news(seen(job("old")))
    assert set(Cache(town.root / "cache.db").load("told o s")) == {"begun", "succeeded ftjob-old"}


def test_a_cache_that_cannot_be_written_forgets_only_over_restarts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    town = Town(tmp_path / "file")
    assert town.news(seen(job("old"))) == []
    assert town.news(seen(job("old"), job("new"))) == ["succeeded new"]
    assert town.news(seen(job("old"), job("new"))) == []


class Place:
    """An address that answers ``answers``, one by one, and then takes all."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.mails = list(answers), list[tuple[str, str]]()
        self.tried, self.goal = 0, 3
        self.arrived = asyncio.Event()

    async def send(self, title: str, body: str, event: Event) -> str:  # noqa: ARG002
        self.tried += 1
        why = self.answers.pop(0) if self.answers else ""
        if not why:
            self.mails.append((title, body))
            if len(self.mails) == self.goal:
                self.arrived.set()
        return why

    def delivery(self, *, window: float = 0.0) -> Delivery:
        return Delivery(self.send, window=window, taken=lambda _: None, failed=lambda _: None, first=0.001)


def message(title: str, event: Event = Event.SUCCEEDED) -> Message:
    return Message(event, title, f"of {title}\nmore", (title,))


async def sent(delivery: Delivery, count: int) -> None:
    for n in range(count):
        delivery.put(message(str(n)))
    await delivery.close(30)


async def test_messages_are_sent_one_by_one_and_again_until_they_are_taken() -> None:
    place = Place("no", "no", "", "no")
    delivery = place.delivery()
    for n in range(3):
        delivery.put(message(str(n)))
    async with asyncio.timeout(30):
        await place.arrived.wait()
    assert [title for title, _ in place.mails] == ["0", "1", "2"]
    assert place.tried == 6
    await delivery.close(5)


@pytest.mark.parametrize(("count", "window", "mails"), [(AT_ONCE, 0.0, AT_ONCE), (AT_ONCE + 1, 0.0, 1), (2, 60.0, 1)])
async def test_many_at_a_time_and_those_of_a_window_are_one_message(count: int, window: float, mails: int) -> None:
    place = Place()
    await sent(place.delivery(window=window), count)
    assert len(place.mails) == mails


async def test_the_end_sends_what_waits_once_and_waits_no_longer() -> None:
    place = Place("no", "no", "no")
    await sent(place.delivery(window=60), 2)
    assert (place.tried, place.mails) == (1, [])

    async def never(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    hanging = Delivery(never, window=0, taken=lambda _: None, failed=lambda _: None)
    hanging.put(message("0"))
    async with asyncio.timeout(30):
        await hanging.close(0.01)


def test_a_digest_says_what_there_is_and_stays_short() -> None:
    assert digest([message("a")]) == message("a")
    few = digest([message("a"), message("b", Event.FAILED)])
    assert (few.event, few.title, few.body, few.keys) == (
        Event.FAILED, "1 succeeded, 1 failed", "a: of a\nb: of b", ("a", "b"),
    )  # fmt: skip
    many = digest([message(f"{n}{'x' * 200}") for n in range(200)])
    assert len(many.body) < 1_600
    assert many.body.endswith(f"… and {200 - many.body.count(chr(10))} more")


def heard(
    *looks: Seen, events: Iterable[Event] = tuple(Event), place: Place | None = None, root: Path
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what arrives of looks, and what is said meanwhile."""
    place, lines = place or Place(), list[str]()

    def write(text: str, level: str, fields: Mapping[str, Any]) -> None:  # noqa: ARG001
        lines.append(text)

    async def tell() -> None:
        told = Told(Cache(root / "cache.db"), "told", clock=lambda: NOW)
        addresses = [Address("URL 1 of 1, X", place.send)]
        notifier = Notifier(
            addresses, told, Voice(write), about=("o", "s"), events=tuple(events), hide=hide, first=0.001
        )
        for look in looks:
            notifier.hear(look)
            async with asyncio.timeout(30):
                while any(delivery._queue for delivery in notifier._deliveries):  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.001)
        await notifier.close()

    def hide(text: str) -> str:
        return text.replace("sk-secret", "[key]")

    asyncio.run(tell())
    return place.mails, lines


def test_new_runs_of_a_look_are_one_message(tmp_path: Path) -> None:
    look = seen(held=tuple(Held(change(name), "approval", "") for name in "ba"))
    mails, _ = heard(look, look, root=tmp_path)
    assert mails == [("New runs wait for approval: a, b", "b: why; a: why\no on s")]


def test_templates_say_it_and_foreign_text_is_only_text(tmp_path: Path) -> None:
    evil = "\x1b[31m<!channel> @everyone {spec} sk-secret\nFrom: x" + "y" * 5000
    words = Notifications(failed=Template(title="@oncall {{{event}}} {spec}", body="{reason}|{job}|{owner}|{server}"))
    mails, _ = heard(seen(), seen(job(status="failed", error_message=evil), words=words), root=tmp_path)
    ((title, body),) = mails
    assert title == "@oncall {failed} a"
    assert body.startswith("\\x1b[31m<\u200b!channel> @\u200beveryone {spec} [key] From: x")
    assert body.endswith("…|ftjob-a|o|s")
    assert len(body) < 1_000


def test_events_nobody_asked_for_are_never_told(tmp_path: Path) -> None:
    look = seen(job("new"), drift=(DRIFT,))
    mails, _ = heard(seen(), look, events=[Event.DRIFT], root=tmp_path)
    assert [title for title, _ in mails] == ["a has drifted"]
    assert heard(look, root=tmp_path)[0] == []


def test_that_nothing_arrives_is_said_once_and_when_it_is_over(tmp_path: Path) -> None:
    place = Place("Page not found.", "Too busy.")
    mails, lines = heard(seen(), seen(job("new")), place=place, root=tmp_path)
    assert [title for title, _ in mails] == ["new succeeded"]
    assert lines == [
        "Notifications do not arrive (URL 1 of 1, X): Page not found. They are sent again until they do.",
        "Notifications arrive again (URL 1 of 1, X).",
    ]


@pytest.mark.parametrize(
    ("url", "secret", "known"),
    [
        ("json://user:pa55word@127.0.0.1:8080/path", ["pa55word"], ["127.0.0.1", "user", "path", "8080"]),
        ("json://user:correcthorse@h", ["correcthorse"], ["user"]),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXr", ["T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXr"], ["slack"]),
        ("https://hooks2.example.com/services/T0000000A", ["T0000000A"], ["hooks2.example.com", "services"]),
        ("mailto://me:hunter2hunter2@mail.example.com?to=x@example.org", ["hunter2hunter2"], ["mail.example.com"]),
        ("desktop", [], ["desktop"]),
        ("tgram://123456789:abc%2Bdefgh1/-100123", ["abc%2Bdefgh1", "abc+defgh1", "123456789"], ["tgram"]),
    ],
)
def test_parts_of_urls_that_look_like_keys_are_secret(url: str, secret: list[str], known: list[str]) -> None:
    found = set(secrets_in(url))
    assert found >= set(secret)
    assert not found & set(known)
