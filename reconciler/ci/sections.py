"""The parts that comments and job summaries are put together from, as markdown. Pure.

Every part keeps within the room it is given, in characters as hosts count them, and counts what it leaves out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from reconciler.apply.model import Outcome
from reconciler.ci.finished import Finished, Trained
from reconciler.errors import Problem, ReconcilerError, SpecError
from reconciler.history.losses import Losses
from reconciler.observe.state import ObservedJob
from reconciler.plan.drift import Drift
from reconciler.plan.model import Difference
from reconciler.report.escape import code, md
from reconciler.report.fault import messages
from reconciler.report.figures import number
from reconciler.report.graph import mermaid
from reconciler.report.plan_markdown import fitting, left_out, size
from reconciler.report.style import RESULTS
from reconciler.report.words import sides
from reconciler.spec.desired import Desired, Upstream

_LONGEST = 400
_LONGEST_NAME = 200
_MOST_RUNS = 5
_RESERVED = 300
_HINT = 6_000
"""Characters kept free for what to do next, every one of it escaped."""


def whose(finished: Finished) -> str:
    """Return whose jobs this is about; nothing where that is unknown."""
    return code(finished.owner, _LONGEST_NAME) if finished.owner else ""


def failure(error: ReconcilerError, room: int) -> str:
    """Render an error: a table of places for faults in specs, else its message, and what to do next."""
    if isinstance(error, SpecError):
        count = len(error.problems)
        head = [f"### {count} {'problem' if count == 1 else 'problems'} in the specs", ""]
        rows, _ = fitting([_problem(p) for p in error.problems], room - _RESERVED - _HINT)
        body = ["| Place | Problem |", "|:--|:--|", *rows, ""] if rows else []
        body += left_out(count - len(rows), "more problem", "more problems")
    else:
        head = ["### The run failed", ""]
        body, _ = fitting([f"> {md(line, _LONGEST)}<br>" for line in messages(error)], room - _RESERVED - _HINT)
        body += [""]
    hint = [md(error.hint, _LONGEST), ""] if error.hint else []
    return "\n".join([*head, *body, *hint])


def _problem(problem: Problem) -> str:
    place = ":".join([problem.file, *(str(n) for n in (problem.line, problem.column) if n)])
    return f"| {code(place, _LONGEST_NAME)} | {md(problem.message, _LONGEST)} |"


def offline(why: str) -> str:
    """Say why a plan was made without a server, and what that leaves open."""
    return (
        f"> [!NOTE]\n> No server was asked for this pull request: {md(why.rstrip('.'), _LONGEST)}. So this is what its "
        "specs change against the base branch; which revisions were trained before, and what jobs are doing, is not "
        "known here.\n"
    )


def settings(changed: Sequence[Difference], room: int) -> str:
    """Say which settings a pull request changes that it is not judged by yet; nothing where it changes none."""
    if not changed:
        return ""
    head = (
        "> [!IMPORTANT]\n> <code>reconciler.yaml</code> changes here: this pull request is judged by the base "
        "branch's.\n"
    )
    rows, _ = fitting([_setting(each) for each in changed], room - _RESERVED)
    table = ["| Setting | Base branch | Here |", "|:--|:--|:--|", *rows, ""] if rows else []
    return "\n".join([head, *table, *left_out(len(changed) - len(rows), "more setting", "more settings")])


def _setting(changed: Difference) -> str:
    old, new = sides(changed, _LONGEST_NAME)
    return f"| {code(changed.field, _LONGEST_NAME)} | {code(old)} | {code(new)} |"


def drifted(drift: Sequence[Drift], room: int) -> str:
    """Render what was changed outside the specs."""
    if not drift:
        return "### No drift\n"
    rows, _ = fitting([_drift(each) for each in drift], room - _RESERVED)
    head = f"### Drift: {len(drift)} {'job differs' if len(drift) == 1 else 'jobs differ'} from the specs"
    table = ["| Job | Wanted | Status | Live job | Why |", "|:--|:--|:--|:--|:--|", *rows, ""] if rows else []
    return "\n".join([head, "", *table, *left_out(len(drift) - len(rows), "more job", "more jobs")])


def _drift(drift: Drift) -> str:
    name = code(drift.name, _LONGEST_NAME) if drift.name else "unreadable"
    status = md(drift.status, _LONGEST_NAME) if drift.status else ""
    job, why = code(drift.job_id, _LONGEST_NAME), md(drift.reason, _LONGEST)
    return f"| {name} | {drift.desired or ''} | {status} | {job} | {why} |"


def applied(finished: Finished, room: int) -> str:
    """Render what became of each change, failures first, and what has not converged."""
    outcomes = sorted(finished.outcomes, key=lambda o: o.result != "failed")
    rows, room = fitting([_outcome(o) for o in outcomes], room - _RESERVED)
    access, room = fitting(
        [f"- Permissions of {code(g.access.name, _LONGEST_NAME)}: {g.result}" for g in finished.granted], room
    )
    problems, _ = fitting([f"- not converged: {md(p, _LONGEST)}" for p in finished.problems], room)
    lines = [f"### {_ended(finished)}", ""]
    if rows:
        lines += ["| Job | Action | Result | Live job | Detail |", "|:--|:--|:--|:--|:--|", *rows, ""]
    lines += left_out(len(outcomes) - len(rows), "more change", "more changes")
    lines += [*access, *left_out(len(finished.granted) - len(access), "more model", "more models with permissions")]
    lines += [*problems, *left_out(len(finished.problems) - len(problems), "more problem", "more problems"), ""]
    return "\n".join(lines)


def _ended(finished: Finished) -> str:
    counts: Counter[str] = Counter(o.result for o in finished.outcomes)
    if not counts:
        return "Nothing was applied" if finished.problems or finished.error else "Applied: nothing had to change"
    return f"Applied: {', '.join(f'{counts[r]} {r}' for r in RESULTS if r in counts)}"


def _outcome(outcome: Outcome) -> str:
    change = outcome.change
    said = [outcome.detail] if outcome.detail else []
    said += messages(outcome.error) if outcome.error else []
    result = outcome.result if outcome.result == "done" else f"**{outcome.result}**"
    job = outcome.job_id or change.job_id
    return (
        f"| {code(change.name, _LONGEST_NAME)} | {change.action.value} | {result} "
        f"| {code(job, _LONGEST_NAME) if job else ''} | {md(' '.join(said), _LONGEST)} |"
    )


def trained(finished: Finished, room: int) -> str:
    """Render how the losses of an apply's jobs went, with links to their runs; nothing where nothing is known."""
    rows = [_trained(each) for each in finished.trained if each.losses != Losses() or _runs(each.job)]
    kept, _ = fitting(rows, room - _RESERVED)
    if not kept:
        return ""
    head = ["| Job | Status | Training loss | Validation loss | Run |", "|:--|:--|--:|--:|:--|"]
    return "\n".join([*head, *kept, "", *left_out(len(rows) - len(kept), "more job", "more jobs")])


def _trained(trained: Trained) -> str:
    train, last = [number(loss) for _, loss in trained.losses.train], trained.losses.final_valid
    went, valid = " to ".join([*train[:1], *train[1:][-1:]]), "" if last is None else number(last)
    status, runs = md(trained.job.status, _LONGEST_NAME), "<br>".join(_runs(trained.job))
    return f"| {code(trained.name, _LONGEST_NAME)} | {status} | {went} | {valid} | {runs} |"


def _runs(job: ObservedJob) -> list[str]:
    """Return a link to each run on Weights & Biases; where nobody says whose project it is, what to look for there."""
    found = []
    for each in job.integrations[:_MOST_RUNS]:
        match each.get("wandb"):
            case {"entity": str(entity), "project": str(project), "run_id": str(run)} if entity:
                whose, which, run = (
                    quote(part[:_LONGEST_NAME], "", errors="replace") for part in (entity, project, run)
                )
                found.append(f"[W&amp;B](https://wandb.ai/{whose}/{which}/runs/{run})")
            case {"project": str(project), "run_id": str(run)}:
                found.append(f"W&amp;B {code(run, _LONGEST_NAME)} in {code(project, _LONGEST_NAME)}")
    return found


def produced(finished: Finished, room: int) -> str:
    """Render the models that specs have produced, folded; nothing where there is none."""
    models = sorted((name, model) for name, model in (finished.models or {}).items() if model)
    rows, _ = fitting([f"| {code(n, _LONGEST_NAME)} | {code(m, _LONGEST_NAME)} |" for n, m in models], room - _RESERVED)
    if not rows:
        return ""
    title = f"{len(models)} {'model' if len(models) == 1 else 'models'}"
    rest = left_out(len(models) - len(rows), "more model", "more models")
    return _folded(title, "\n".join(["| Job | Model |", "|:--|:--|", *rows, "", *rest]))


def chains(desired: Sequence[Desired], room: int) -> str:
    """Draw which spec starts from which, folded; nothing where no spec does, or where the picture is too large."""
    bases = {spec.model.job for spec in desired if isinstance(spec.model, Upstream)}
    linked = [spec for spec in desired if isinstance(spec.model, Upstream) or spec.name in bases]
    text = _folded("Chains", f"```mermaid\n{mermaid(linked)}```\n") if linked else ""
    return text if size(text) <= room else ""


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n</details>\n"
