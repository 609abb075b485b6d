"""Write the tables of the action's inputs and outputs into docs/ci.md, from action.yml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ci.md"


def inputs(declared: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield "| input | default | what it is |"
    yield "| --- | --- | --- |"
    for name, about in declared.items():
        default = f" `{about['default']}`" if about["default"] else ""
        yield f"| `{name}` |{default} | {about['description']} |"


def outputs(declared: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield "| output | what it is |"
    yield "| --- | --- |"
    for name, about in declared.items():
        yield f"| `{name}` | {about['description']} |"


def render(page: str) -> str:
    """Return the page with tables that are current."""
    action: dict[str, Any] = YAML(typ="safe").load((ROOT / "action.yml").read_text(encoding="utf-8"))
    for name, table in (("inputs", inputs), ("outputs", outputs)):
        begin, end = f"<!-- {name}: python scripts/action_tables.py -->\n", f"<!-- end of the {name} -->\n"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = before + begin + "\n" + "\n".join(table(action[name])) + "\n\n" + end + after
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
