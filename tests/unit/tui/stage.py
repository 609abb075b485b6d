"""A dashboard in front of a play: specs and jobs of every fate, events from a server that is a function."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from reconciler.api.client import Client
from reconciler.api.server import Server
from reconciler.observe.state import Observed, ObservedJob
from reconciler.plan.planner import Options, make_plan
from reconciler.report.escape import clean
from reconciler.spec.config import Config
from reconciler.spec.desired import DataFile, Desired, State
from reconciler.spec.load import Repository
from reconciler.spec.policy import Policy, Price
from reconciler.tui.app import Dashboard, Desk
from reconciler.watch.asking import Asking
from reconciler.watch.engine import Pulse, Seen
from reconciler.watch.history import History
from reconciler.watch.restraint import Experience, Limits, restrain
from reconciler.watch.snapshot import Snapshot
from reconciler.watch.voice import Voice

MODEL = "gpt-4.1-nano-2025-04-14"
OWNER, SERVER = "example.com/models", "https://api.example.com/v1"


def spec(name: str, **fields: Any) -> Desired:
    """Make a spec; ``revision`` follows the name."""
    data = DataFile(f"specs/data/{name}.jsonl", "0" * 64, 400_000, 500)
    return Desired(
        **{"name": name, "revision": f"{abs(hash(name)):016x}", "model": MODEL, "training_file": data, **fields}
    )


def job(of: Desired, status: str, **fields: Any) -> ObservedJob:
    """Make the job of a spec."""
    now = int(time.time())
    base: dict[str, Any] = {
        "id": f"ftjob-{of.name}", "name": of.name, "revision": of.revision, "attempt": 1, "status": status,
        "created_at": now - 900, "model": MODEL,
    }  # fmt: skip
    return ObservedJob(**base | fields)


@dataclass
class Play:
    """What stands on the stage; ``steps`` says how far jobs are, by id; ``requests`` are those that were made."""

    specs: list[Desired] = field(default_factory=list)
    jobs: list[ObservedJob] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)
    total: int = 300
    messages: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: Policy(prices={"gpt-4.1*": Price(per_million=1.5)}))
    soon_calls: int = 0
    fixed: str = ""
    pulse: Pulse = field(default_factory=Pulse)
    resting: bool = True
    seen: Seen | None = None

    def __post_init__(self) -> None:
        self.history = History(clean)
        self.voice = Voice(self.history.hear)
        self.asking = Asking(self.voice, pose=lambda _: None)
        self.experience = Experience(30.0)
        self.edits: list[tuple[str, State]] = []
        self.ended = 0

    def add(self, name: str, status: str | None = None, *, step: int | None = None, **fields: Any) -> None:
        """Add a spec and, with a status, its job."""
        about = {key: fields.pop(key) for key in ("state", "protect") if key in fields}
        made = spec(name, **about)
        self.specs.append(made)
        if status:
            self.jobs.append(job(made, status, **fields))
        if step is not None:
            self.steps[f"ftjob-{name}"] = step

    def soon(self) -> None:
        self.soon_calls += 1
        self.look()

    def look(self) -> None:
        """Do what a watch does in a look, but for doing anything."""
        desired = tuple(sorted(self.specs, key=lambda s: s.name))
        repository = Repository(Path(), Config(policy=self.policy), desired, None, (), ("specs",), empty=False)
        observed = Observed(jobs=tuple(sorted(self.jobs, key=lambda j: (j.created_at, j.id))))
        self.voice.jobs(observed)
        plan = make_plan(OWNER, SERVER, desired, observed, self.policy, time.time(), Options())
        specs = {each.name: each for each in desired}
        _, held = restrain(plan, specs, self.experience, Limits(self.asking.approved), time.monotonic())
        self.seen = Seen(Snapshot(repository), observed, plan, tuple(held))
        self.voice.stuck(plan)
        self.voice.held(held)
        self.asking.about(plan.changes)
        now = time.monotonic()
        self.pulse.looked_at, self.pulse.next_at, self.pulse.seen_at = now, now + 12, now

    def app(self) -> Dashboard:
        client = Client(Server("stage", SERVER, "k"), transport=httpx.MockTransport(self.answer))
        desk = Desk(OWNER, SERVER, client, self.rewrite, self.end, self.fixed, beat=0.1)
        return Dashboard(self, self.asking, self.history, desk)

    def end(self) -> None:
        self.ended += 1

    def rewrite(self, name: str, state: State, really: bool) -> str:
        was = next(each.state for each in self.specs if each.name == name)
        if really:
            self.edits.append((name, state))
        lines = f"--- a/specs/{name}.yaml\n+++ b/specs/{name}.yaml\n@@ -3,2 +3,2 @@\n model: {MODEL}\n"
        return f"{lines}-state: {was}\n+state: {state}\n" if was != state else ""

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer for events and checkpoints."""
        self.requests.append(f"{request.method} {request.url.path}")
        job_id, kind = request.url.path.split("/")[-2:]
        if kind == "checkpoints":
            return httpx.Response(200, json={"object": "list", "data": [], "has_more": False})
        limit, after = int(request.url.params["limit"]), request.url.params.get("after")
        every = list(self.events(job_id))[::-1]
        start = next((i + 1 for i, event in enumerate(every) if event["id"] == after), 0)
        rows = every[start : start + limit]
        more = start + limit < len(every)
        return httpx.Response(200, json={"object": "list", "data": rows, "has_more": more})

    def events(self, job_id: str) -> Iterable[dict[str, Any]]:
        """Make a job's events, oldest first."""
        at = int(time.time()) - 600
        words = ["Created fine-tuning job", "Validating training file", "Fine-tuning job started"]
        if job_id in self.messages:
            words.append(self.messages[job_id])
        for i, message in enumerate(words):
            yield {"id": f"{job_id}-w{i}", "object": "fine_tuning.job.event", "created_at": at + i, "level": "info",
                   "message": message, "type": "message", "data": {}}  # fmt: skip
        for step in range(1, self.steps.get(job_id, 0) + 1):
            loss = 0.4 + 2.2 * math.exp(-step / 60) + 0.08 * math.sin(step * 1.7) * math.exp(-step / 200)
            data: dict[str, Any] = {"step": step, "total_steps": self.total, "train_loss": round(loss, 4)}
            if step % 10 == 0:
                data["valid_loss"] = round(loss + 0.08 + step / 4000, 4)
            yield {"id": f"{job_id}-s{step}", "object": "fine_tuning.job.event", "created_at": at + 3 + step,
                   "level": "info", "message": f"Step {step}/{self.total}: training loss={loss:.2f}",
                   "type": "metrics", "data": data}  # fmt: skip


def classic() -> Play:
    """Return a play with everything in it."""
    now = int(time.time())
    play = Play()
    play.add("support-tone", "running", step=214, estimated_finish=now + 252)
    play.add("summaries-de", "running", step=61, estimated_finish=now + 1330)
    play.add("router", "running", step=120, estimated_finish=now + 640)
    play.add("intent-small", "queued")
    play.add("sql-assistant", "validating_files")
    play.add("toxicity", "failed", error_message="training file: row 118 has no assistant message",
             error_code="invalid_training_file")  # fmt: skip
    play.add("extract-invoices", "succeeded", trained_tokens=1_204_000, finished_at=now - 4000,
             fine_tuned_model="ft:gpt-4.1-nano-2025-04-14:acme:extract-invoices:9xQ2")  # fmt: skip
    play.add("faq-bot", "succeeded", trained_tokens=348_000, fine_tuned_model="ft:gpt-4.1-nano:acme:faq:8aBc")
    play.add("legal-clauses", "paused", state="paused", step=40)
    play.add("old-classifier", "cancelled", state="cancelled")
    play.add("translate-fr")
    play.add("translate-it")
    return play
