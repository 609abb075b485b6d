"""What the documents say can be typed can be typed: every command and option in them exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from program import ROOT

from reconciler.cli.main import cli
from reconciler.cli.overview import COMMANDS

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("specs/*.md")]
)


def command_lines(path: Path) -> Iterator[str]:
    """Yield what follows ``reconciler`` in code, as far as it names a command."""
    text = path.read_text(encoding="utf-8")
    spans = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    for span in spans:
        for found in re.finditer(r"(?:^|[\s/;&`])reconciler ((?:\\\n|[^`\n;&|#>])+)", span):
            line = found[1].replace("\\\n", " ").strip()
            if re.match(r"[a-z][a-z-]*(\s|$)", line):
                yield line


def documented() -> list[tuple[str, str]]:
    return [(path.relative_to(ROOT).as_posix(), line) for path in DOCUMENTS for line in command_lines(path)]


@pytest.mark.parametrize(("document", "line"), documented())
def test_a_documented_command_line_is_understood(document: str, line: str) -> None:
    # A usage line such as `init [DIR]` names its arguments, and json\|yaml a choice: the first will do.
    words = [re.sub(r"\\?\|.*", "", word.strip("[]")) for word in shlex.split(line.replace("...", ""))]
    words = [word for word in words if word]
    assert words[0] in COMMANDS, f"{document}: {line}"
    command = cli.get_command(click.Context(cli), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])


def test_documents_name_commands_at_all() -> None:
    assert len(documented()) > 10


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"reconciler {name}" not in text] == []


def test_every_option_a_document_names_exists() -> None:
    options = {"--help", "--version"}
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        parts = command.commands.values() if isinstance(command, click.Group) else ()
        parameters = [parameter for each in (command, *parts) for parameter in each.params]
        options |= {option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)}
    for path in DOCUMENTS:
        spans = re.findall(r"`(--[a-z-]+)", path.read_text(encoding="utf-8"))
        assert {s for s in spans if s not in options} == set(), path
