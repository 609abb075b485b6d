from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.observe.ownership import NAME, OWNER, REVISION, Ownership, parse, refusal, stamp

names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)
digests = st.text("0123456789abcdef", min_size=16, max_size=16)


@given(st.text(min_size=1, max_size=512), names, digests, st.integers(1, 999_999))
def test_what_is_stamped_is_read_back(owner: str, name: str, revision: str, attempt: int) -> None:
    ownership = Ownership(owner, name, revision, attempt)
    assert parse(stamp(ownership)) == ownership


@given(st.dictionaries(st.sampled_from([OWNER, NAME, REVISION, "team"]), st.text(max_size=80)))
def test_any_metadata_is_ours_or_not_or_malformed(metadata: dict[str, str]) -> None:
    try:
        ownership = parse(metadata)
    except ValueError:
        assert OWNER in metadata
    else:
        assert (ownership is None) == (OWNER not in metadata)


@pytest.mark.parametrize("metadata", [None, {}, {"team": "support"}, {NAME: "triage", REVISION: "x"}])
def test_a_job_without_an_owner_is_nobodys(metadata: dict[str, str] | None) -> None:
    assert parse(metadata) is None


@pytest.mark.parametrize(
    "revision", ["", "0123456789abcdef", "0123456789abcdef.0", "0123456789ABCDEF.1", "0123456789abcdef.1\n", "x.1"]
)
def test_a_revision_that_cannot_be_read_is_malformed(revision: str) -> None:
    with pytest.raises(ValueError, match="not DIGEST"):
        parse({OWNER: "o", NAME: "triage", REVISION: revision})


@pytest.mark.parametrize("name", ["", "Triage", "-x", "x-", "a" * 64, "a\n"])
def test_a_name_that_no_spec_can_have_is_malformed(name: str) -> None:
    with pytest.raises(ValueError, match="no spec can be called"):
        parse({OWNER: "o", NAME: name, REVISION: "0123456789abcdef.1"})


DIGEST = "0123456789abcdef"
OURS, THEIRS, ODD = (
    {OWNER: "ours", NAME: "a", REVISION: f"{DIGEST}.1"},
    {OWNER: "theirs", NAME: "a", REVISION: f"{DIGEST}.1"},
    {OWNER: "theirs", NAME: "", REVISION: ""},
)


@pytest.mark.parametrize(
    ("metadata", "ended", "take_over", "why"),
    [
        (None, False, (), None),
        (OURS, False, (), None),
        (THEIRS, True, (), None),
        (THEIRS, False, ("theirs",), None),
        (THEIRS, False, ("others",), "which is running and belongs to theirs"),
        (ODD, False, (), "which is running and belongs to theirs"),
        (ODD, True, (), None),
        ({**OURS, NAME: "?"}, False, ("ours",), "which claims our owner, but cannot be read"),
        ({**OURS, NAME: "?"}, True, (), "which claims our owner, but cannot be read"),
    ],
)
def test_a_job_may_be_adopted_or_the_reason_is_said(
    metadata: dict[str, str] | None, ended: bool, take_over: tuple[str, ...], why: str | None
) -> None:
    found = refusal(metadata, "ours", status="running", ended=ended, take_over=take_over)
    assert (found is None) == (why is None)
    assert (found or "").startswith(why or "")
