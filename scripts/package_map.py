"""Write the map of the package into CONTRIBUTING.md: each module with the first sentence of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- map: python scripts/package_map.py -->\n", "<!-- end of the map -->\n"


def sentence(module: Path) -> str:
    """Return what a module says of itself, in one sentence."""
    first, *_ = (ast.get_docstring(ast.parse(module.read_bytes())) or "").split("\n\n")
    head, stop, _ = " ".join(first.split()).replace("``", "`").partition(". ")
    return head + stop.strip()


def lines(package: Path) -> Iterator[str]:
    """Yield the map of one package: itself, its modules, then the packages in it."""
    room = package.relative_to(ROOT).as_posix()
    yield f"\n**`{room}/`**: {sentence(package / '__init__.py')}\n\n"
    for module in sorted(package.glob("[!_]*.py")):
        yield f"- `{module.name}`: {sentence(module)}\n"
    for inner in sorted(package.glob("*/__init__.py")):
        yield from lines(inner.parent)


def render(guide: str) -> str:
    """Return the guide with a map that is current."""
    before, _, rest = guide.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "".join(lines(ROOT / "reconciler")) + "\n" + END + after


if __name__ == "__main__":
    GUIDE.write_text(render(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
