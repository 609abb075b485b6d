"""What the token of a workflow may do beyond what a comment takes, as its file says."""

from __future__ import annotations

import pytest

from reconciler.ci.surroundings import read_surroundings
from reconciler.ci.token import too_wide

JOBS = "jobs: {other: {permissions: write-all}, apply: {runs-on: x}}\n"


@pytest.mark.parametrize(
    "text",
    [
        f"permissions: {{contents: read, pull-requests: write}}\n{JOBS}",
        f"permissions: {{contents: read, pull-requests: read, id-token: write, packages: none}}\n{JOBS}",
        f"permissions: {{}}\n{JOBS}",
        "permissions: write-all\njobs: {apply: {permissions: {contents: read}}}\n",
        "permissions: [\n",
        "",
        "- a\n",
        "permissions: 3\n",
    ],
)
def test_a_token_that_may_do_no_more_than_needed_is_not_spoken_of(text: str) -> None:
    assert too_wide(text.encode(), "apply") == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JOBS, "states no permissions"),
        ("jobs: 3\n", "states no permissions"),
        (f"permissions: write-all\n{JOBS}", "has write-all, more than it needs"),
        (f"permissions: read-all\n{JOBS}", "has read-all"),
        (f"permissions: {{contents: write, issues: read}}\n{JOBS}", "has contents: write, issues: read,"),
        (f"permissions: {{contents: [x]}}\n{JOBS}", "has contents: ['x'],"),
        ("permissions: {}\njobs: {apply: {permissions: {actions: write}}}\n", "has actions: write"),
    ],
)
def test_a_token_that_may_do_more_is_warned_of(text: str, said: str) -> None:
    warning = too_wide(text.encode(), "apply")
    assert said in warning
    assert "Give the job permissions: contents: read" in warning


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        ("acme/models/.github/workflows/a b.yml@refs/heads/main", ".github/workflows/a b.yml"),
        ("acme/models/.github/workflows/a.yml@refs/heads/x@y", ".github/workflows/a.yml"),
        ("acme/shared/.github/workflows/a.yml@refs/heads/main", None),
        ("acme/models/.github/workflows/../../x@refs/heads/main", None),
        ("", None),
    ],
)
def test_the_workflows_file_is_one_of_this_repository(ref: str, path: str | None) -> None:
    around = read_surroundings({"GITHUB_WORKFLOW_REF": ref, "GITHUB_REPOSITORY": "acme/models"}, None)
    assert (around.workflow and str(around.workflow)) == path
