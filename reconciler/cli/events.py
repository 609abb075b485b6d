"""``reconciler events NAME``: what happened to a job."""

from __future__ import annotations

import asyncio
import sys

import click

from reconciler.api.types import Event
from reconciler.cli.lookup import job_of
from reconciler.cli.options import Where, format_option, where_options
from reconciler.cli.session import Session, open_session, run_async
from reconciler.cli.terminal import Terminal
from reconciler.report.document import to_text
from reconciler.report.events import event_json, events_json, render_event, render_events


@click.command()
@click.argument("name")
@where_options
@format_option("text", "json")
@click.option("--follow", is_flag=True, help="Go on until the job has ended; with json, one event a line.")
def command(name: str, where: Where, form: str, follow: bool) -> None:
    """Show the events of NAME's job, oldest first. NAME is a spec's, or a job's id."""
    run_async(_events(name, where, form, follow=follow))


async def _events(name: str, where: Where, form: str, *, follow: bool) -> None:
    async with open_session(where) as session:
        job = job_of(name, session.repository.desired, await session.observe())
        if follow:
            await _follow(session, job.id, form)
            return
        events = await session.client.events_since(job.id)
    if form == "json":
        click.echo(to_text(events_json(events)), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_events(events, color=terminal.color, width=terminal.width), nl=False)


async def _follow(session: Session, job_id: str, form: str) -> None:
    seen: str | None = None
    pause = session.poll().shortest
    while True:
        # The job first: what is listed after it has ended is everything.
        job = await session.client.job(job_id)
        for event in await session.client.events_since(job_id, seen):
            seen = event.id
            _show(event, form)
        if job.terminal:
            return
        await asyncio.sleep(pause)


def _show(event: Event, form: str) -> None:
    if form == "json":
        click.echo(to_text(event_json(event), indent=None), nl=False)
    else:
        terminal = Terminal.of(sys.stdout)
        click.echo(render_event(event, color=terminal.color, width=terminal.width), nl=False)
