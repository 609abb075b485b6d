"""The command group, its exit codes, and the last line of defence for errors.

Exit codes: 0 done; 1 an error, or an action or (with --wait) a job failed; 2 ``plan --detailed-exitcode`` found
changes; 3 ``drift`` found some; 64 wrong usage; 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword

import click

from reconciler import __version__
from reconciler.cli.overview import COMMANDS, OVERVIEW
from reconciler.cli.say import add_log_options, begin, end, in_json, say

INTERRUPTED = 130
USAGE = 64


class Commands(click.Group):
    """A group that knows its commands' names and loads only the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of a first day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command: click.Command = import_module(f"reconciler.cli.{module}").command
        return add_log_options(command)

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002
        """Say what ``reconciler --help`` says."""
        return OVERVIEW.rstrip()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="reconciler", message="%(prog)s %(version)s")
def cli() -> None:
    """Fine-tuning jobs as code."""


add_log_options(cli)


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit code. No error escapes as a traceback; RECONCILER_DEBUG=1 shows one for a fault of the program.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an old terminal's encoding is no reason to fail
    begin(arguments)
    try:
        return _run(arguments)
    finally:
        end()


def _run(arguments: Sequence[str]) -> int:
    try:
        result = cli.main(args=list(arguments), prog_name="reconciler", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        return _say("Interrupted.", INTERRUPTED)
    except click.ClickException as error:
        _refuse(error)
        return USAGE if isinstance(error, click.UsageError) else 1
    except KeyboardInterrupt:
        return _say("Interrupted. Nothing is lost: the next run looks at what is there and goes on.", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone; say nothing more into that pipe, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence
        return _failed(error)


def _say(message: str, code: int) -> int:
    say(message, "error")
    return code


def _refuse(error: click.ClickException) -> None:
    """Say what click has to say. It quotes the command line as it is, and people paste anything there."""
    if in_json():
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"Try: {context.command_path} --help" if context else ""
        say(_harmless(error.format_message()), "error", hint=hint)
        return
    said = io.StringIO()
    error.show(file=said)
    say(_harmless(said.getvalue()), "error")


def _harmless(text: str) -> str:
    """Return lines without secrets, and without what a terminal would obey."""
    from reconciler.report.escape import exact  # noqa: PLC0415

    return "\n".join(map(exact, _redact(text).rstrip().split("\n")))


def _redact(text: str) -> str:
    """Take out every secret of the connection and of the environment."""
    from reconciler.api.secret import secrets_of  # noqa: PLC0415
    from reconciler.cli.secrets import SECRETS  # noqa: PLC0415

    SECRETS.add(secrets_of(os.environ))
    return SECRETS.redact(text)


def _failed(error: Exception) -> int:
    import traceback  # noqa: PLC0415

    from reconciler.cli.terminal import Terminal  # noqa: PLC0415
    from reconciler.errors import ReconcilerError  # noqa: PLC0415
    from reconciler.report.fault import messages, render_error  # noqa: PLC0415

    if os.environ.get("RECONCILER_DEBUG") == "1" and not isinstance(error, ReconcilerError):
        return _say(_harmless("".join(traceback.format_exception(error))), 1)
    if not isinstance(error, ReconcilerError):
        error = ReconcilerError(
            f"{type(error).__name__}: {error}",
            hint="This is a fault of the program, not yours. RECONCILER_DEBUG=1 shows where; please report it.",
        )
    if in_json():
        known = {name: getattr(error, name, None) for name in ("status", "request_id")}
        say("\n".join(messages(error, _redact)), "error", hint=_redact(error.hint or ""), **known)
        return error.exit_code
    terminal = Terminal.of(sys.stderr)
    text = render_error(error, color=terminal.color, width=terminal.width, hide=_redact)
    click.echo(text, err=True, nl=False)
    return error.exit_code
