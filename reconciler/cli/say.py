"""What commands say on stderr beside their results: text for a person, or JSON lines where asked for.

One command line at a time: ``begin`` and ``end`` enclose it. The log itself is loaded only once it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import click

FORMAT = "RECONCILER_LOG_FORMAT"
QUIET, VERBOSE, DEBUG = 30, 20, 10  # logging's own numbers; to load it for them would cost every command


class _Asked:
    """What the command line that runs has asked for."""

    running = False
    form = "text"
    level = QUIET


def begin(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    """Begin a command line; its format counts from here on, even where the rest of it is wrong."""
    end()
    _Asked.running = True
    choose(form_of(arguments, environment.get(FORMAT, "text")))


def end() -> None:
    """Leave nothing of it to another command line in this process."""
    if _Asked.form == "json" or _Asked.level < QUIET:
        from reconciler.cli.logs import reset  # noqa: PLC0415

        reset()
    _Asked.running, _Asked.form, _Asked.level = False, "text", QUIET


def form_of(arguments: Sequence[str], default: str) -> str:
    """Return the format a command line asks for; the last one counts."""
    form = default
    for index, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument == "--log-format" and index + 1 < len(arguments):
            form = arguments[index + 1]
        elif argument.startswith("--log-format="):
            form = argument.partition("=")[2]
    return form


def choose(form: str | None) -> None:
    """Let stderr be ``text`` or ``json``; anything else is for the option itself to refuse."""
    if _Asked.running and form in ("text", "json") and form != _Asked.form:
        _Asked.form = form
        _configure()


def louder(level: int) -> None:
    """Show the log from this level on, or from a lower one that was asked for before."""
    if _Asked.running and level < _Asked.level:
        _Asked.level = level
        _configure()


def _configure() -> None:
    from reconciler.cli.logs import configure  # noqa: PLC0415

    configure(_Asked.form, _Asked.level)


def in_json() -> bool:
    """Whether stderr is JSON lines."""
    return _Asked.form == "json"


def logged() -> bool:
    """Whether the log was asked for, in whichever format."""
    return in_json() or _Asked.level < QUIET


def say(message: str, level: str = "info", /, *, text: str | None = None, **fields: object) -> None:
    """Say something on stderr: ``text`` (default: the message), which is harmless already, or a JSON line."""
    if in_json():
        from reconciler.cli.logs import say_json  # noqa: PLC0415

        say_json(message, level, fields)
    else:
        click.echo(message if text is None else text, err=True)


def warn(message: str) -> None:
    """Say a warning."""
    say(message, "warning", text=f"warning: {message}")


def add_log_options(command: click.Command) -> click.Command:
    """Add --log-format, --verbose and --debug, to what is below it too; where --verbose has a meaning, it has both."""
    for below in getattr(command, "commands", {}).values():
        add_log_options(below)
    known = {parameter.name: parameter for parameter in command.params}
    if "log_format" in known:
        return command
    if verbose := known.get("verbose"):
        verbose.callback = _heard(lambda value: louder(VERBOSE) if value else None)
    group = isinstance(command, click.Group)
    command.params.append(
        _option(
            ["--log-format"],
            choose,
            "How to print what goes to stderr.  [default: RECONCILER_LOG_FORMAT, or text]",
            type=click.Choice(["text", "json"]),
            envvar=FORMAT if group else None,
        )
    )
    if not verbose:
        command.params.append(
            _option(["-v", "--verbose"], lambda on: louder(VERBOSE) if on else None, "Log each request.", is_flag=True)
        )
    command.params.append(
        _option(
            ["--debug"],
            lambda on: louder(DEBUG) if on else None,
            "Log heads of requests and answers too, without keys.",
            is_flag=True,
        )
    )
    return command


def _option(names: list[str], hear: Callable[..., object], words: str, **more: object) -> click.Option:
    return click.Option(names, expose_value=False, callback=_heard(hear), help=words, **more)  # type: ignore[arg-type]


def _heard(hear: Callable[..., object]) -> Callable[[click.Context, click.Parameter, object], object]:
    def callback(_: click.Context, __: click.Parameter, value: object) -> object:
        hear(value)
        return value

    return callback
