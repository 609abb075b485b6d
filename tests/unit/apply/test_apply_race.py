"""Two reconcilers make the same job within one second: whoever sees both settles it, and one job stays."""

from __future__ import annotations

import pytest
from apply_support import Scene, spec

from reconciler.api.types import CreateJob
from reconciler.apply.execute import execute


def race(rival: str, status: str) -> Scene:
    """Let a rival make the same job in the same second, look before ours is there, and be content."""
    scene = Scene([spec()])

    def step_in(_: CreateJob) -> None:
        scene.server.own("triage", status, job_id=rival)
        scene.server.visible_at[rival] = 0

    scene.server.on_create = step_in
    return scene


@pytest.mark.parametrize(
    ("rival", "status", "stays"),
    [
        ("ftjob-0", "queued", "ftjob-0"),  # the rule's last word is the id
        ("ftjob-9", "queued", "ftjob-2"),  # the rival looked too early to know that it is not alone
        ("ftjob-9", "succeeded", "ftjob-9"),  # what is trained already is not trained again
        ("ftjob-9", "cancelled", "ftjob-2"),
    ],
)
async def test_of_jobs_of_one_second_one_stays(rival: str, status: str, stays: str) -> None:
    scene = race(rival, status)
    (outcome,) = await execute(scene.world(), (await scene.look()).plan)
    assert outcome.result == "done"
    assert outcome.job_id == stays
    assert [i for i, job in scene.server.jobs.items() if job.status != "cancelled"] == [stays]
    assert not (await scene.look()).plan.has_changes
