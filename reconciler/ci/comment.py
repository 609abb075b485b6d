"""The one comment on a pull request that a run keeps up to date. Pure.

A hidden first line says whose comment it is, by a digest of owner and environment. A hidden second line says what this
run came to, so that the next one can list it among the earlier ones, and a third what was reviewed.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from reconciler.ci import sections
from reconciler.ci.finished import Finished
from reconciler.ci.review import Review
from reconciler.ci.surroundings import Surroundings
from reconciler.errors import UnsafePlan
from reconciler.report.plan_markdown import LONGEST, plan_markdown, size
from reconciler.report.words import conclusion

_MOST_EARLIER = 10
_LONGEST_GRAPH = 8_000
_WORDS = r"([0-9a-f]{7}) ([A-Za-z0-9 ,.:]{1,160})"
_NOW = re.compile(rf"<!-- now {_WORDS} -->")
_THEN = re.compile(rf"- <code>{_WORDS.replace(' ', '</code> ', 1)}")


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a run before this one came to: its commit's first seven digits, and the plan's own conclusion."""

    commit: str
    words: str


def marker(owner: str, environment: str | None) -> str:
    """Return the hidden line by which the comment of an owner and environment is found again."""
    digest = hashlib.sha256(json.dumps([owner, environment]).encode()).hexdigest()[:32]
    return f"<!-- reconciler {digest} -->"


def is_marked(body: str, mark: str) -> bool:
    """Say whether a comment is the one of a marker; a quotation of it further down does not count."""
    return body.lstrip().startswith(mark)


def comment(finished: Finished, around: Surroundings, previous: str = "") -> str:
    """Render the comment; ``previous`` is what it said before. Never over the limit, whatever the texts in it."""
    now = _now(finished, around)
    tail = _earlier(earlier_runs(previous), now) + _foot(around)
    head = [marker(finished.owner, finished.environment)]
    head += [f"<!-- now {now.commit} {now.words} -->"] if now else []
    head += _reviewed(finished, around, previous)
    chains = sections.chains(finished.desired, _LONGEST_GRAPH) if finished.plan else ""
    used = size("\n".join([*head, chains, tail])) + 10
    return "\n".join([*head, "", body(finished, LONGEST - used), chains + tail])


def body(finished: Finished, room: int) -> str:
    """Render what the run came to, in at most so many characters: errors first, then the plan or the like."""
    parts = [text for text in [sections.settings(finished.settings, room // 8)] if text]
    if finished.plan and finished.plan.compared:
        parts.append(sections.offline(finished.offline))
    if finished.error and not (finished.plan and isinstance(finished.error, UnsafePlan)):
        parts.append(sections.failure(finished.error, room // 2 if finished.plan else room))
        if finished.plan is None:
            parts.append(f"{sections.whose(finished)}\n")
    if finished.plan:
        parts.append(plan_markdown(finished.plan, room - sum(map(size, parts)) - 2))
    elif finished.drift is not None:
        parts.append(sections.drifted(finished.drift, room))
    elif not finished.error:
        count = len(finished.desired)
        parts.append(f"### {count} {'job is' if count == 1 else 'jobs are'} valid\n\n{sections.whose(finished)}\n")
    return "\n".join(parts)


def _now(finished: Finished, around: Surroundings) -> Earlier | None:
    if around.commit is None:
        return None
    words = conclusion(finished.plan) if finished.plan else "The run failed." if finished.error else "Valid."
    return Earlier(around.commit[:7], words[:160])


def _reviewed(finished: Finished, around: Surroundings, previous: str) -> list[str]:
    """Return the hidden line that says what was reviewed; what is no plan leaves the one that was there."""
    plan = finished.plan
    if finished.command != "plan":
        return [before.line()] if (before := Review.read(previous)) else []
    if plan is None or plan.compared or finished.error or around.commit is None:
        return []
    return [Review.of(plan, finished.desired, around.commit).line()]


def earlier_runs(previous: str) -> list[Earlier]:
    """Read what a comment tells of runs, newest first. Only lines of exactly our form count: others can edit it."""
    lines = previous.splitlines()
    found = [match for line in lines if (match := _NOW.fullmatch(line))][:1]
    found += [match for line in lines if (match := _THEN.fullmatch(line))]
    return [Earlier(match[1], match[2]) for match in found]


def _earlier(runs: list[Earlier], now: Earlier | None) -> str:
    rest = [run for run in dict.fromkeys(runs) if now is None or run.commit != now.commit][:_MOST_EARLIER]
    if not rest:
        return ""
    lines = "\n".join(f"- <code>{run.commit}</code> {run.words}" for run in rest)
    return f"<details><summary>Earlier</summary>\n\n{lines}\n\n</details>\n"


def _foot(around: Surroundings) -> str:
    said = [f"commit <code>{around.commit[:7]}</code>"] if around.commit else []
    said += [f"[everything in the job summary]({around.run_url})"] if around.run_url else []
    return f"\n<sub>{' · '.join(said)}</sub>\n" if said else ""
