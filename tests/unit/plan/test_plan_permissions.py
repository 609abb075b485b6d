"""Who may use a model: granted as specs say, taken back only where policy says that specs alone decide."""

from __future__ import annotations

from typing import Any

import pytest
from plan_support import NOW, OPTIONS, OWNER, SERVER, A, job, spec

from reconciler.api.types import Permission
from reconciler.errors import StalePlan
from reconciler.observe.state import Observed
from reconciler.plan.model import Access, Plan
from reconciler.plan.planner import Options, make_plan
from reconciler.plan.saved import check, load, save
from reconciler.spec.policy import Policy

MODEL = "ft:m:o:triage:1"


def held(*projects: str) -> tuple[Permission, ...]:
    return tuple(Permission(id=f"cp_{project}", created_at=1, project_id=project) for project in projects)


def plan(
    wanted: tuple[str, ...],
    found: tuple[Permission, ...] | str | None,
    *,
    managed: tuple[str, ...] = (),
    status: str = "succeeded",
    options: Options = OPTIONS,
) -> Plan:
    observed = Observed(
        jobs=(job(status=status, fine_tuned_model=MODEL),), permissions={} if found is None else {MODEL: found}
    )
    return make_plan(OWNER, SERVER, [spec(permissions=wanted)], observed, Policy(permissions=managed), NOW, options)


def access(**more: Any) -> tuple[Access, ...]:
    return (Access("triage", MODEL, **more),)


@pytest.mark.parametrize(
    ("wanted", "found", "managed", "expected"),
    [
        pytest.param((), held(), (), (), id="nothing"),
        pytest.param(("proj_a",), held("proj_a"), (), (), id="as it should be"),
        pytest.param(("proj_b", "proj_a"), held(), (), access(grant=("proj_a", "proj_b")), id="missing"),
        pytest.param(("proj_a", "proj_b"), held("proj_a"), (), access(grant=("proj_b",)), id="one missing"),
        pytest.param(("proj_a",), held("proj_a", "proj_x"), (), access(left=("proj_x",)), id="somebody else's"),
        pytest.param(
            ("proj_a",),
            held("proj_x", "proj_a", "proj_y"),
            ("proj_x",),
            access(revoke=(("proj_x", "cp_proj_x"),), left=("proj_y",)),
            id="ours alone to decide on",
        ),
        pytest.param(("proj_x",), held("proj_x"), ("proj_*",), (), id="managed and named"),
        pytest.param(
            (), held("proj_x"), ("proj_*",), access(revoke=(("proj_x", "cp_proj_x"),)), id="named by no spec any more"
        ),
        pytest.param(("proj_a",), None, ("proj_*",), (), id="not read"),
        pytest.param((), "HTTP 403", ("proj_*",), (), id="unreadable, and nothing wanted"),
        pytest.param(
            ("proj_a",),
            "HTTP 403",
            ("proj_*",),
            access(blocked="its permissions cannot be read: HTTP 403"),
            id="unreadable",
        ),
    ],
)
def test_what_differs_is_planned(
    wanted: tuple[str, ...], found: Any, managed: tuple[str, ...], expected: tuple[Access, ...]
) -> None:
    made = plan(wanted, found, managed=managed)
    assert made.access == expected
    assert made.has_changes == any(each.acts for each in expected)


@pytest.mark.parametrize("status", ["running", "failed", "cancelled", "queued"])
def test_a_job_without_a_model_has_nothing_to_permit(status: str) -> None:
    assert plan(("proj_a",), held(), status=status).access == ()


def test_only_the_selected_specs_are_planned() -> None:
    assert plan(("proj_a",), held(), options=Options(excludes=("triage",))).access == ()


def test_permissions_are_part_of_what_a_reviewer_approves() -> None:
    prints = {
        plan(("proj_a",), held("proj_a")).fingerprint,
        plan(("proj_a",), held()).fingerprint,
        plan(("proj_b",), held()).fingerprint,
        plan((), held("proj_b"), managed=("proj_b",)).fingerprint,
    }
    assert len(prints) == 4
    assert plan(("proj_a",), held("proj_x", "proj_a")).fingerprint in prints, "what others granted changes nothing"


def test_a_saved_plan_keeps_its_permissions_and_notices_others() -> None:
    policy = Policy(permissions=("proj_x",))
    desired = [spec(permissions=("proj_a",))]
    made = plan(("proj_a",), held("proj_x", "proj_y"), managed=("proj_x",))
    saved = load(save(made, ["specs"], None, Options(), desired, policy))
    assert saved.plan == made
    check(saved, made, desired, policy)
    with pytest.raises(StalePlan, match="triage: the permissions to be granted or taken back are others now"):
        check(saved, plan(("proj_a",), held("proj_a", "proj_x"), managed=("proj_x",)), desired, policy)


def test_the_model_of_another_revision_is_left_alone() -> None:
    other = job(revision="b" * 16, status="succeeded", fine_tuned_model=MODEL)
    observed = Observed(jobs=(other,), permissions={MODEL: held()})
    made = make_plan(OWNER, SERVER, [spec(revision=A, permissions=("proj_a",))], observed, Policy(), NOW)
    assert made.access == ()
