"""What a person approved is what runs, however long that took, and whatever a clock says."""

from __future__ import annotations

from typing import Any

import pytest
from apply_support import OPTIONS, OWNER, POLICY, Scene, spec

from reconciler.apply.follow import View
from reconciler.cache import Cache
from reconciler.errors import StalePlan
from reconciler.loop import Reconciler, run_once
from reconciler.plan.model import Plan


@pytest.mark.parametrize("clock", [0.0, 60.0, -60.0], ids=["stands", "goes on", "is set back"])
async def test_what_changed_while_a_person_decided_stops_the_plan(clock: float) -> None:
    scene = Scene([spec()])
    unix = 1_700_000_000.0
    nothing: Any = None

    class Asking(Reconciler):
        async def look(self) -> View:
            return await scene.look()

    reconciler = Asking(nothing, "", OWNER, scene.desired, POLICY, OPTIONS, Cache(None), lambda: unix)

    async def approve(_: Plan) -> bool:
        nonlocal unix
        unix += clock
        await scene.time.sleep(60)
        scene.server.own("triage")
        return True

    with pytest.raises(StalePlan):
        await run_once(reconciler, scene.world(), approve, view=await scene.look())
    assert scene.server.sent() == []
