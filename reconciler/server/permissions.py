"""Permissions: which projects may use a checkpoint. Every function runs inside the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Literal

from reconciler.server import documents, jobs
from reconciler.server.jobs import Page, UnknownCursor
from reconciler.server.problems import not_found


def check_model(db: sqlite3.Connection, model: str) -> None:
    """Make sure that a model was made here: a job's own, or one of its checkpoints.

    Raises:
        Problem: it was not.
    """
    for sql in ("SELECT 1 FROM models WHERE id = ?", "SELECT 1 FROM checkpoints WHERE model = ?"):
        if db.execute(sql, (model,)).fetchone():
            return
    raise not_found("fine-tuned model or checkpoint", model, "fine_tuned_model_checkpoint")


def grant(db: sqlite3.Connection, model: str, projects: Sequence[str], *, now: float) -> list[str]:
    """Let projects use a checkpoint; return their permissions as they are sent. A project that may already keeps its
    permission.
    """
    for project in projects:
        document = documents.permission(permission_id=jobs.new_id("cp_"), created_at=int(now), project_id=project)
        db.execute(
            "INSERT OR IGNORE INTO permissions (id, model, project, document) VALUES (?, ?, ?, ?)",
            (document["id"], model, project, documents.dump(document)),
        )
    marks = ", ".join("?" * len(projects))
    sql = f"SELECT document FROM permissions WHERE model = ? AND project IN ({marks}) ORDER BY seq DESC"  # noqa: S608
    return [text for (text,) in db.execute(sql, [model, *projects])]


def page(
    db: sqlite3.Connection,
    model: str,
    *,
    limit: int,
    after: str | None,
    project: str | None,
    order: Literal["ascending", "descending"],
) -> Page:
    """Return the permissions of a checkpoint, in order of their creation.

    Raises:
        UnknownCursor: ``after`` is no permission of this checkpoint.
    """
    where, values = ["model = ?"], list[str | int]([model])
    if after:
        found = db.execute("SELECT seq FROM permissions WHERE id = ? AND model = ?", (after, model)).fetchone()
        if found is None:
            raise UnknownCursor(after)
        where.append("seq < ?" if order == "descending" else "seq > ?")
        values.append(found[0])
    if project is not None:
        where.append("project = ?")
        values.append(project)
    direction = "DESC" if order == "descending" else "ASC"
    sql = f"SELECT document FROM permissions WHERE {' AND '.join(where)} ORDER BY seq {direction} LIMIT ?"  # noqa: S608
    rows = db.execute(sql, [*values, limit + 1]).fetchall()
    return Page([text for (text,) in rows[:limit]], len(rows) > limit)


def ends(page: Page) -> tuple[str | None, str | None]:
    """Return the first and the last id of a page."""
    if not page.texts:
        return None, None
    return json.loads(page.texts[0])["id"], json.loads(page.texts[-1])["id"]


def revoke(db: sqlite3.Connection, model: str, permission_id: str) -> None:
    """Take a permission back.

    Raises:
        Problem: this checkpoint has no such permission.
    """
    if not db.execute("DELETE FROM permissions WHERE id = ? AND model = ?", (permission_id, model)).rowcount:
        raise not_found("permission", permission_id, "permission_id")
