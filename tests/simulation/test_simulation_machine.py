"""Hypothesis looks for an order of edits, runs, faults and meddling that breaks a rule, and for the shortest one."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from .clock import VirtualLoop
from .schedule import make_town, settle
from .specs import EDITS, write_files
from .world import DEEDS, Machine, Manner, Town

PATIENCE = 300.0
"""Seconds after which somebody ends a command that still runs."""
RUNS = st.builds(
    Manner,
    wait=st.booleans(),
    behind=st.sampled_from([0, 0, 1]),
    deadly=st.none() | st.integers(1, 20),
    ponders=st.sampled_from([0.0, 8.0]),
    concurrency=st.sampled_from([1, 8]),
    collects=st.sampled_from([None, None, None, 0.0, 20.0]),
)


class Reconciling(RuleBasedStateMachine):
    """One town; whatever is done to it, it comes to rest once it is left in peace."""

    town: Town

    @initialize(seed=st.integers(0, 2**32 - 1), machines=st.integers(1, 3))
    def begin(self, seed: int, machines: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        root = Path(self.directory.name)
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)

        async def found() -> Town:
            return make_town(random.Random(seed), write_files(root), root)

        self.town = self.do(found())
        self.town.machines = [Machine() for _ in range(machines)]
        self.town.repository.add()

    def do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(what)

    @rule(kind=st.sampled_from(list(EDITS)))
    def edit(self, kind: str) -> None:
        getattr(self.town.repository, kind)()

    @rule(runs=st.lists(RUNS, min_size=1, max_size=3))
    def reconcile(self, runs: list[Manner]) -> None:
        async def together() -> None:
            pairs = zip(self.town.machines, runs, strict=False)
            await asyncio.gather(*(self._one(machine, manner) for machine, manner in pairs))

        self.do(together())

    async def _one(self, machine: Machine, manner: Manner) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self.town.reconcile(machine, manner)
        except TimeoutError:
            pass

    @rule(rate=st.sampled_from([0.0, 0.1, 0.4, 1.0]))
    def weather(self, rate: float) -> None:
        self.town.faults.rate = rate

    @rule(kind=st.sampled_from(list(DEEDS)))
    def meddle(self, kind: str) -> None:
        getattr(self.town, kind)()

    @rule(seconds=st.sampled_from([0.1, 3.0, 30.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @invariant()
    def no_rule_is_broken(self) -> None:
        assert not hasattr(self, "town") or self.town.record.broken == []

    def teardown(self) -> None:
        if hasattr(self, "town"):
            try:
                self.do(settle(self.town, wait=True))
                assert self.town.record.broken == []
            finally:
                self.runner.close()
                self.directory.cleanup()


TestReconciling = Reconciling.TestCase
TestReconciling.settings = settings(
    max_examples=40,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
