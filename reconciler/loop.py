"""One reconcile: observe, plan, apply."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.api.client import Client
from reconciler.apply.execute import execute
from reconciler.apply.follow import View
from reconciler.apply.model import Outcome
from reconciler.apply.world import World
from reconciler.cache import Cache
from reconciler.errors import StalePlan, UnsafePlan
from reconciler.observe.made import Made
from reconciler.observe.read import observe
from reconciler.observe.state import Observed
from reconciler.plan.model import Plan
from reconciler.plan.planner import Options, make_plan
from reconciler.spec.desired import Desired
from reconciler.spec.policy import Policy

log = logging.getLogger(__name__)

_FASTEST_ANSWER = 0.1
"""Seconds: who was asked took at least as long."""
_AGAIN = 1.0
"""Seconds after which a create that was under way may have been answered."""


def _nobody(_: str) -> None:
    pass


@dataclass(frozen=True)
class Reconciler:
    """Everything one reconcile is made from.

    ``server`` is what plans call the server; ``now`` gives Unix seconds; ``root`` is the repository's, None where plans
    need not count the rows of changed data. Without ``words`` the old files that diffs compare with are not looked up;
    without ``access`` nobody asks who may use models: that costs a request for every model that specs share. ``made``
    remembers what a list may not show yet; ``note`` is told where that is waited for.
    """

    client: Client
    server: str
    owner: str
    desired: Sequence[Desired]
    policy: Policy
    options: Options
    cache: Cache
    now: Callable[[], float]
    root: Path | None = None
    words: bool = True
    access: bool = True
    made: Made | None = None
    note: Callable[[str], object] = _nobody

    async def look(self) -> View:
        """Observe the server and plan."""
        observed = await self.observe()
        plan = self.plan(observed)
        if log.isEnabledFor(logging.INFO):
            counts = dict(sorted(Counter(str(change.action) for change in plan.changes).items()))
            words = ", ".join(f"{count} {action}" for action, count in counts.items()) or "no specs"
            log.info("Plan made: %s.", words, extra={"actions": counts})
        return View(plan, observed)

    async def observe(self) -> Observed:
        """Read everything that a plan needs, late enough to show what was sent from here and not answered."""
        observed = await self._observe()
        return await self._observe() if await self._doubted(observed) else observed

    async def _doubted(self, observed: Observed) -> bool:
        """Wait as long as a list may miss what was made; another command that sent it may say sooner what it made."""
        if not self.made or not (left := self.made.doubt(observed.jobs, self.client.server.lag)):
            return False
        self.note(f"A new job may not be listed yet: waiting up to {left:.0f} s for a list that would show it.")
        while left > 0 and self.made.doubt(observed.jobs, self.client.server.lag):
            await self.client.sleep(min(left, _AGAIN))
            left -= _AGAIN
        return True

    async def _observe(self) -> Observed:
        shared = {spec.name for spec in self.desired if spec.permissions or self.policy.permissions}
        return await observe(
            self.client,
            self.owner,
            self.desired,
            cache=self.cache,
            now=self.now,
            made=self.made,
            take_over=self.options.take_over,
            shared=shared if self.access else (),
            root=self.root,
            files=self.words,
        )

    def plan(self, observed: Observed) -> Plan:
        """Plan from what was observed."""
        return make_plan(self.owner, self.server, self.desired, observed, self.policy, self.now(), self.options)


def refuse_unsafe(plan: Plan) -> None:
    """Stop before a plan that destroys or buys more than policy allows.

    Raises:
        UnsafePlan: it does; nothing was changed.
    """
    if plan.unsafe:
        raise UnsafePlan("\n".join(" ".join(why.split()) for why in plan.unsafe), hint="Nothing was changed.")


async def run_once(
    reconciler: Reconciler, world: World, approve: Callable[[Plan], Awaitable[bool]], *, view: View
) -> list[Outcome] | None:
    """Bring the server to the desired state, once.

    - refuse what policy forbids;
    - ask, and look again if a person was asked: what was reviewed is what runs;
    - apply.

    Returns:
        The outcomes, or None where the plan was declined.

    Raises:
        UnsafePlan: policy forbids the plan.
        StalePlan: the server changed while a person was deciding.
    """
    refuse_unsafe(view.plan)
    if not view.plan.has_changes:
        return []
    asked_at = world.clock()
    if not await approve(view.plan):
        return None
    asked = world.clock() - asked_at > _FASTEST_ANSWER
    if asked and (await reconciler.look()).plan.fingerprint != view.plan.fingerprint:
        raise StalePlan(
            "The server changed while the plan was being reviewed. Nothing was changed.",
            hint="Run the command again and review the new plan.",
        )
    return await execute(world, view.plan)
