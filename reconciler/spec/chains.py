"""Specs that start from what other specs produce: every reference exists, and none leads back to itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from reconciler.wording import did_you_mean


def explain(name: str, known: Collection[str], matrices: Mapping[str, list[str]]) -> str | None:
    """Say why ``name`` cannot be built on, None where it can.

    ``matrices`` maps the name of a spec with a matrix to the names that came of it.
    """
    if name in known:
        return None
    if made := matrices.get(name):
        shown = ", ".join(made[:10]) + (", ..." if len(made) > 10 else "")
        return f"'{name}' has a matrix, so it is many jobs; name one of {shown}"
    return f"no spec is named '{name}'{did_you_mean(name, known)}"


def ordered(upstream: Mapping[str, str | None]) -> tuple[list[str], list[list[str]]]:
    """Order names so that each comes after the one it is built on.

    Args:
        upstream: for each name the one it is built on; names that are not keys are taken as done.

    Returns:
        The order, and every cycle as the path that leads back to its first name. What is on a cycle, or built on
        one, is in no order.
    """
    order: dict[str, None] = {}
    lost: set[str] = set()
    cycles = []
    for start in sorted(upstream):
        path: dict[str, None] = {}
        name: str | None = start
        while name is not None and name in upstream and not (name in order or name in lost or name in path):
            path[name] = None
            name = upstream[name]
        if name in path:
            steps = list(path)
            steps = steps[steps.index(name) :]
            first = steps.index(min(steps))
            cycles.append([*steps[first:], *steps[:first], steps[first]])
        if name in path or name in lost:
            lost.update(path)
        else:
            order.update(dict.fromkeys(reversed(path)))
    return list(order), cycles
