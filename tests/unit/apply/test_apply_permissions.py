"""Permissions are granted before any is taken back, and after an error none is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reconciler.apply.permissions import apply_access
from reconciler.errors import NotPermitted
from reconciler.plan.model import Access


@dataclass
class Server:
    """Keeps what it was asked; the models in ``closed`` refuse."""

    closed: frozenset[str] = frozenset()
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def grant(self, model: str, projects: Sequence[str]) -> None:
        self._admit(model)
        self.asked.append(("grant", model, *projects))

    async def revoke(self, model: str, permission_id: str) -> None:
        self._admit(model)
        self.asked.append(("revoke", model, permission_id))

    def _admit(self, model: str) -> None:
        if model in self.closed:
            raise NotPermitted("an admin key is needed", status=403)


BOTH = Access("a", "ft:a", grant=("proj_1", "proj_2"), revoke=(("proj_3", "cp_3"), ("proj_4", "cp_4")))
GRANT = Access("b", "ft:b", grant=("proj_1",))
REVOKE = Access("c", "ft:c", revoke=(("proj_3", "cp_3"),))
QUIET = Access("d", "ft:d", left=("proj_9",))


async def test_everything_planned_is_done_in_order() -> None:
    server = Server()
    done = await apply_access(server, [BOTH, GRANT, REVOKE, QUIET], revoke=True)
    assert [(end.access.name, end.result) for end in done] == [("a", "done"), ("b", "done"), ("c", "done")]
    assert server.asked == [
        ("grant", "ft:a", "proj_1", "proj_2"),
        ("revoke", "ft:a", "cp_3"),
        ("revoke", "ft:a", "cp_4"),
        ("grant", "ft:b", "proj_1"),
        ("revoke", "ft:c", "cp_3"),
    ]


async def test_after_an_error_grants_go_on_and_nothing_is_taken_back() -> None:
    server = Server(closed=frozenset({"ft:b"}))
    done = await apply_access(server, [GRANT, BOTH, REVOKE], revoke=True)
    assert [end.result for end in done] == ["failed", "skipped", "skipped"]
    assert done[0].error is not None
    assert server.asked == [("grant", "ft:a", "proj_1", "proj_2")]


async def test_after_an_error_with_a_job_nothing_is_taken_back() -> None:
    server = Server()
    done = await apply_access(server, [REVOKE], revoke=False)
    assert [(end.result, end.detail) for end in done] == [("skipped", "after an error nothing is taken back")]
    assert server.asked == []
