"""A plan on paper: what was reviewed, and whether it still holds. Pure.

The file is JSON: ``format`` and ``version`` first, then what the plan was made from, then its changes, then a digest of
it all. A plan of another version, or one that was edited, is refused: it is cheap to make a new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.errors import StalePlan
from reconciler.plan.model import Access, Action, Change, Cost, Difference, Plan
from reconciler.plan.planner import Options
from reconciler.spec.desired import Desired
from reconciler.spec.policy import MaxPrune, Policy

FORMAT = "reconciler-plan"
VERSION = 1
_AGAIN = "Make a new one: reconciler plan --out FILE"


@dataclass(frozen=True)
class SavedPlan:
    """A plan with what it was made from.

    ``paths``, ``environment``, ``options``, ``server`` and ``owner`` (the last two as the command line gave them) say
    how to make it again; ``specs`` maps names to digests of the desired jobs; ``policy`` is a digest of the policy.
    """

    plan: Plan
    paths: tuple[str, ...]
    environment: str | None
    options: Options
    specs: Mapping[str, str]
    policy: str
    server: str | None = None
    owner: str | None = None


def save(
    plan: Plan,
    paths: Sequence[str],
    environment: str | None,
    options: Options,
    desired: Sequence[Desired],
    policy: Policy,
    *,
    server: str | None = None,
    owner: str | None = None,
) -> str:
    """Write a plan down. Equal inputs give byte-equal text."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "owner": plan.owner,
        "server": plan.server,
        "fingerprint": plan.fingerprint,
        "paths": list(paths),
        "environment": environment,
        "given": {"server": server, "owner": owner},
        "options": _options(options),
        "specs": digests(desired),
        "policy": digest(policy.model_dump(mode="json")),
        "changes": [dataclasses.asdict(change) for change in plan.changes],
        "warnings": list(plan.warnings),
        "unsafe": list(plan.unsafe),
        "access": [dataclasses.asdict(access) for access in plan.access],
    }
    document["digest"] = digest(document)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def load(text: str) -> SavedPlan:
    """Read a plan back.

    Raises:
        StalePlan: it is of another version, or was changed by hand.
        ValueError: it is no saved plan at all.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        document = None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError("not a saved plan")
    if document.get("version") != VERSION:
        raise StalePlan(
            f"This plan is of version {document.get('version')}; this program reads version {VERSION}.",
            hint=_AGAIN,
        )
    if document.pop("digest", None) != digest(document):
        raise StalePlan("This saved plan was changed after it was made.", hint=_AGAIN)
    try:
        return _read(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StalePlan("This saved plan is damaged.", hint=_AGAIN) from error


def _read(document: Mapping[str, Any]) -> SavedPlan:
    changes = [
        Change(
            **{
                **change,
                "action": Action(change["action"]),
                "diff": tuple(Difference(**d) for d in change["diff"]),
                "notes": tuple(change["notes"]),
                "cost": Cost(**change["cost"]) if change.get("cost") else None,
            }
        )
        for change in document["changes"]
    ]
    options = dict(document["options"])
    return SavedPlan(
        plan=Plan.of(
            document["owner"],
            document["server"],
            changes,
            document["warnings"],
            document["unsafe"],
            map(_access, document["access"]),
        ),
        paths=tuple(document["paths"]),
        environment=document["environment"],
        options=Options(
            targets=tuple(options["targets"]),
            excludes=tuple(options["excludes"]),
            recreate=frozenset(options["recreate"]),
            max_prune=MaxPrune(**options["max_prune"]) if options["max_prune"] else None,
            empty=options["empty"],
            allow_empty=options["allow_empty"],
            partial=options["partial"],
            take_over=tuple(options["take_over"]),
        ),
        specs=document["specs"],
        policy=document["policy"],
        server=document["given"]["server"],
        owner=document["given"]["owner"],
    )


def _access(access: Mapping[str, Any]) -> Access:
    return Access(
        **{
            **access,
            "grant": tuple(access["grant"]),
            "revoke": tuple((project, permission) for project, permission in access["revoke"]),
            "left": tuple(access["left"]),
        }
    )


def _options(options: Options) -> dict[str, Any]:
    return {
        "targets": list(options.targets),
        "excludes": list(options.excludes),
        "recreate": sorted(options.recreate),
        "max_prune": options.max_prune.model_dump() if options.max_prune else None,
        "empty": options.empty,
        "allow_empty": options.allow_empty,
        "partial": options.partial,
        "take_over": list(options.take_over),
    }


def digest(value: object) -> str:
    """Return a digest of anything JSON can say."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digests(desired: Sequence[Desired]) -> dict[str, str]:
    """Return a digest of each spec by name; where it stands in which file is not part of it."""
    return {
        spec.name: digest(
            {f.name: _plain(getattr(spec, f.name)) for f in dataclasses.fields(spec) if f.name != "source"}
        )
        for spec in sorted(desired, key=lambda s: s.name)
    }


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def check(saved: SavedPlan, current: Plan, desired: Sequence[Desired], policy: Policy) -> None:
    """Make sure that what was reviewed is what would be done now.

    Raises:
        StalePlan: anything it was made from has changed; the message says what.
    """
    if reasons := list(_changed(saved, current, digests(desired), digest(policy.model_dump(mode="json")))):
        raise StalePlan(
            "This saved plan no longer holds:\n" + "\n".join(f"  - {' '.join(reason.split())}" for reason in reasons),
            hint="Review a new one: reconciler plan --out FILE",
        )


def _changed(saved: SavedPlan, current: Plan, specs: Mapping[str, str], policy: str) -> Iterator[str]:
    then = saved.plan
    if then.owner != current.owner:
        yield f"the owner was {then.owner}, now it is {current.owner}"
    if then.server != current.server:
        yield f"the server was {then.server}, now it is {current.server}"
    if saved.policy != policy:
        yield "the policy in reconciler.yaml changed"
    for name in sorted({*saved.specs, *specs}):
        if saved.specs.get(name) != specs.get(name):
            what = "is gone" if name not in specs else "is new" if name not in saved.specs else "changed"
            yield f"spec {name} {what}"
    if then.fingerprint != current.fingerprint:
        yield from _actions(then, current)


def _actions(then: Plan, current: Plan) -> Iterator[str]:
    before = {c.identity: c for c in then.changes if c.action.acts}
    after = {c.identity: c for c in current.changes if c.action.acts}
    for identity, change in before.items():
        if identity not in after:
            now = next((c for c in current.changes if (c.name, c.revision) == (change.name, change.revision)), None)
            instead = f"; now {now.action}: {now.reason}" if now else ""
            yield f"{change.name}: {change.action} was planned{instead}"
    for identity, change in after.items():
        if identity not in before:
            yield f"{change.name}: {change.action} was not planned: {change.reason}"
    grants, now_granted = ({a.name: (a.grant, a.revoke) for a in p.access if a.acts} for p in (then, current))
    for name in sorted({*grants, *now_granted}):
        if grants.get(name) != now_granted.get(name):
            yield f"{name}: the permissions to be granted or taken back are others now"
