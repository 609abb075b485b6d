"""Keeping one comment up to date: found, then made, changed or deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from reconciler.ci.comment import is_marked
from reconciler.ci.github import GitHub
from reconciler.errors import HostError

Mode = Literal["auto", "always", "on-change", "never"]


def keep(
    github: GitHub, number: int, mark: str, mode: Mode, render: Callable[[str], str], *, worth_saying: bool
) -> int | None:
    """Bring our comment on a pull request up to date; two that raced are made one.

    ``always`` has one after every run; ``on-change`` only while there is something worth saying, and deletes it
    otherwise; ``auto`` makes one once there is, and keeps it up to date from then on. ``render`` takes what the comment
    said before, empty where there was none.

    Returns:
        The comment's id, None where there is none now.

    Raises:
        HostError: GitHub refused, failed or did not answer.
    """
    if mode == "never":
        return None
    marked = [comment for comment in github.comments(number) if is_marked(comment.body, mark)]
    us = github.login() if marked else ""
    ours = [comment for comment in marked if comment.author == us]
    wanted = worth_saying or mode == "always" or (mode == "auto" and bool(ours))
    for comment in ours[1:] if wanted else ours:
        github.delete(comment.id)
    if not wanted:
        return None
    if ours:
        try:
            return github.update(ours[0].id, render(ours[0].body)).id
        except HostError as error:
            if error.status != 404:  # somebody has deleted it meanwhile
                raise
    return github.create(number, render("")).id
