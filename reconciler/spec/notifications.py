"""``notifications`` in ``reconciler.yaml``: the words of what a watch tells people. Pure.

A template is text with named fields, ``{spec} failed``. Nothing else is in it: no attribute, index, conversion or
format, so that a template can show what it is given and nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, Field

from reconciler.spec.model import OneLine, Section
from reconciler.wording import did_you_mean


class Event(StrEnum):
    """What a watch tells people of."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"
    DRIFT = "drift"
    APPROVAL = "approval"
    LIMITS = "limits"
    SERVER = "server"


FIELDS = ("event", "spec", "job", "model", "reason", "owner", "server")
"""What a template may name."""
_ALL = ", ".join(f"{{{field}}}" for field in FIELDS)

_TITLES = {
    Event.SUCCEEDED: "{spec} succeeded",
    Event.FAILED: "{spec} failed",
    Event.CANCELLED: "{spec} was cancelled",
    Event.BLOCKED: "{spec} is blocked",
    Event.DRIFT: "{spec} has drifted",
    Event.APPROVAL: "New runs wait for approval: {spec}",
    Event.LIMITS: "Left undone: beyond the limits",
    Event.SERVER: "The server is away",
}


def _fields_known(template: str) -> str:
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError("has a brace that belongs to no field; write {{ or }} for a brace") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in FIELDS or form or conversion):
            near = "" if name in FIELDS else did_you_mean(name, FIELDS)
            raise ValueError(f"may hold {_ALL} only, just so{near}")
    return template


class Template(Section):
    """The words of one kind of notification; what is left out stays as it is by itself."""

    title: Annotated[
        Annotated[str, Field(min_length=1, max_length=200), OneLine, AfterValidator(_fields_known)] | None,
        Field(description="One line; {spec}, {job}, {model}, {reason}, {event}, {owner} and {server} are filled in."),
    ] = None
    body: Annotated[
        Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_fields_known)] | None,
        Field(description="Text with the same fields."),
    ] = None


class Notifications(Section):
    """The words of notifications, by event."""

    succeeded: Annotated[Template, Field(description="A job has its model.")] = Template()
    failed: Annotated[Template, Field(description="A job failed, or the server refused a change.")] = Template()
    cancelled: Annotated[Template, Field(description="A job was cancelled.")] = Template()
    blocked: Annotated[Template, Field(description="A spec cannot go on without a person.")] = Template()
    drift: Annotated[Template, Field(description="A job was changed outside.")] = Template()
    approval: Annotated[Template, Field(description="New runs wait for a person's word.")] = Template()
    limits: Annotated[Template, Field(description="A plan is beyond what policy allows.")] = Template()
    server: Annotated[Template, Field(description="The server does not answer.")] = Template()

    def words(self, event: Event, fields: Mapping[str, str]) -> tuple[str, str]:
        """Return the title and the body of a notification; ``fields`` has every one of ``FIELDS``."""
        template: Template = getattr(self, event.value)
        title = (template.title or _TITLES[event]).format_map(fields)
        if template.body:
            return title, template.body.format_map(fields)
        return title, "\n".join(
            filter(None, [fields["reason"], fields["job"], "{owner} on {server}".format_map(fields)])
        )
