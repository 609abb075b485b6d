"""Policy: the limits that ``reconciler.yaml`` sets for a whole repository. Pure values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

CURRENCY = r"^[A-Z]{3}$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MaxActive(_Section):
    """How many of our jobs may be active at once: in all, and by model (a name or glob)."""

    total: Annotated[int, Field(ge=1)] | None = None
    models: dict[str, Annotated[int, Field(ge=1)]] = {}


class MaxPrune(_Section):
    """How many jobs one plan may cancel for having lost their spec.

    ``share`` is of the names we own, between 0 and 1; a single job is always within it.
    """

    count: Annotated[int, Field(ge=0)] = 10
    share: Annotated[float, Field(ge=0, le=1)] = 0.5


class Budget(_Section):
    """What one plan may buy: a number of new jobs, and of training tokens (estimated: bytes / 4 x epochs)."""

    creates: Annotated[int, Field(ge=0)] | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None


class Price(_Section):
    """What a million training tokens cost, for estimates."""

    per_million: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    currency: Annotated[str, Field(pattern=CURRENCY)] = "USD"


class Policy(_Section):
    """The limits of a repository. Short forms (a number for ``max_active`` or a price) are the loader's."""

    allowed_models: tuple[str, ...] = ()
    max_active: MaxActive = MaxActive()
    max_prune: MaxPrune = MaxPrune()
    budget: Budget = Budget()
    permissions: Annotated[
        tuple[str, ...], Field(description="Projects (or globs) whose access specs alone decide on.")
    ] = ()
    prices: Annotated[
        dict[str, Price], Field(description="By model (a name or glob): what a million training tokens cost.")
    ] = {}
    on_cancelled: Literal["block", "recreate"] = "block"
