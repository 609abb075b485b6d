"""What has to hold before a pipeline applies: its commit is the newest, and what it would do was reviewed."""

from __future__ import annotations

from reconciler.ci.base import checkout, credentials
from reconciler.ci.comment import is_marked, marker
from reconciler.ci.github import GitHub, Pull
from reconciler.ci.review import Review, unreviewed
from reconciler.ci.writing import only_written_back
from reconciler.cli.ci_model import Run
from reconciler.errors import HostError, ReconcilerError, StalePlan
from reconciler.history.git import GitFailed
from reconciler.plan.model import Plan
from reconciler.report.escape import clean
from reconciler.spec.config import find_root

_STALE = "Run the newest commit's workflow instead. --allow-stale applies this one all the same."
_BY_HAND = "Open a pull request, or apply without --require-reviewed-plan, by hand, after looking at the plan above."


def refuse_stale(run: Run) -> None:
    """Stop a run of an old commit, which would take back what was applied since.

    Commits that only wrote lock files do not count. A tag has no newest commit, and outside of GitHub nobody knows:
    there nothing is refused.

    Raises:
        StalePlan: the branch has moved on.
        ReconcilerError: nobody says whether it has.
    """
    branch = run.around.applied_branch
    if run.settings.allow_stale or not branch:
        return
    here = _checked_out(run)
    try:
        tip = _tip(run, branch)
    except (HostError, GitFailed) as error:
        raise ReconcilerError(
            f"Whether {here[:7]} is still the newest commit of {branch} cannot be told: {error}",
            hint="Nothing was changed. Run it again later; --allow-stale applies without being told.",
        ) from error
    if here != tip and not _same_specs(run, here, tip):
        raise StalePlan(f"{here[:7]} is no longer the newest commit of {branch}, which is {tip[:7]}.", hint=_STALE)


def _same_specs(run: Run, here: str, tip: str) -> bool:
    """Say whether only lock files were written since: that takes nothing back, and applies of other jobs go on."""
    around = run.around
    if not around.repository or not around.token:
        return False
    try:
        with GitHub(around.api_url, around.repository, around.token) as github:
            return only_written_back(github, here, tip)
    except HostError:
        return False


def _checked_out(run: Run) -> str:
    """Return the commit whose specs are here, which may be another than the event's."""
    try:
        with checkout(find_root(run.where.start), run.around) as git:
            here = git.commit("HEAD")
    except GitFailed:
        here = None
    return here or run.around.tried or "a commit nobody knows"


def _tip(run: Run, branch: str) -> str:
    """Ask GitHub's API for the newest commit of a branch; where it does not say, ask its git."""
    around = run.around
    try:
        if around.repository and around.token:
            with GitHub(around.api_url, around.repository, around.token) as github:
                return github.tip(branch)
    except HostError as error:
        refusal = error
    else:
        refusal = HostError("GITHUB_TOKEN is not set.")
    try:
        with checkout(find_root(run.where.start), run.around) as git:
            return git.tip(branch, credentials(around))
    except GitFailed:
        raise refusal from None


def refuse_unreviewed(run: Run, plan: Plan) -> None:
    """Stop a plan that is not the one that was reviewed on the pull request. One that does nothing needs none.

    Raises:
        StalePlan: it differs; the message says in what.
        ReconcilerError: nothing says what was reviewed.
    """
    if not run.settings.require_reviewed_plan or not plan.intends:
        return
    around = run.around
    if not around.repository or not around.token:
        raise HostError("GITHUB_TOKEN is not set, so nobody says what was reviewed.", hint="Pass it in the step's env.")
    with GitHub(around.api_url, around.repository, around.token) as github:
        pull = _merged(run, github)
        review = _review(run, github, pull)
    if review.commit != pull.head:
        raise StalePlan(
            f"The plan on pull request #{pull.number} is of commit {review.commit[:7]}; {pull.head[:7]} was merged.",
            hint=_BY_HAND,
        )
    if differing := unreviewed(review, plan, run.finished.desired):
        raise StalePlan(
            f"This is not what was reviewed on pull request #{pull.number}:\n"
            + "\n".join(f"  - {clean(each)}" for each in differing),
            hint=f"Nothing was changed. {_BY_HAND}",
        )


def _merged(run: Run, github: GitHub) -> Pull:
    """Find the pull request whose merge made the commit that is checked out."""
    here = _checked_out(run)
    for pull in github.merged(here):
        if pull.merge == here:
            return pull
    raise ReconcilerError(f"No pull request was merged as commit {here[:7]}, so nothing was reviewed.", hint=_BY_HAND)


def _review(run: Run, github: GitHub, pull: Pull) -> Review:
    """Read what our own comment on a pull request says was reviewed; nobody else's counts."""
    mark = marker(run.finished.owner, run.finished.environment)
    marked = [comment for comment in github.comments(pull.number) if is_marked(comment.body, mark)]
    us = github.login() if marked else ""
    ours = next((comment for comment in marked if comment.author == us), None)
    if ours is None:
        raise ReconcilerError(f"There is no plan of ours on pull request #{pull.number}.", hint=_BY_HAND)
    review = Review.read(ours.body)
    if review is None:
        raise ReconcilerError(
            f"The comment on pull request #{pull.number} shows no plan that a server was asked for.", hint=_BY_HAND
        )
    return review
