"""Training on a Ray cluster: one named, detached actor a job, which outlives the server. Loads Ray.

The server's directory is one that all nodes have at the same path. What a job's process says goes into a file there,
so a server that starts again finds the actor by its name, or else what it said before it ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from reconciler.errors import MissingExtra, UsageError
from reconciler.server.graders.settings import PYTHON_VARIABLE, URL_VARIABLE
from reconciler.server.trainers.base import Control
from reconciler.server.trainers.trl.actor import ENDED, KILLED, Actor, told_file
from reconciler.server.trainers.trl.catalogue import Resources
from reconciler.server.trainers.trl.devices import CLUSTER, Device
from reconciler.server.trainers.trl.executor import ENVIRONMENT
from reconciler.server.trainers.trl.faults import MEMORY
from reconciler.server.trainers.trl.order import DROP, STOP, Order, Said, Told
from reconciler.server.trainers.trl.tracking.settings import EXPERIMENT_VARIABLE

_SHARED = (PYTHON_VARIABLE, URL_VARIABLE, "OMP_NUM_THREADS", "HF_HUB_OFFLINE", "WANDB_MODE", EXPERIMENT_VARIABLE)
"""Variables of the server's environment that its jobs have, too. Keys are not among them: Ray shows environments."""
_PING_EVERY = 1.0
_WAITS = 5.0
_KNOCK = 5.0
_ALIKE = "RAY_AUTH_MODE, its token and Ray's version have to be the same here as on its nodes."
_START = "Start one on this machine or join one first: ray start."
_FREED = 15.0
_ASKED = "asked"
"""The kind of the first line: when it was said tells the files of a job's attempts apart."""
_LOST = -9


class RayExecutor:
    """Asks a cluster for what each job's model needs. ``address`` None starts one here, which ends with the server.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: no cluster answers.
    """

    places = None
    spreads = True
    no_four_bits = None
    here = ENVIRONMENT

    def __init__(self, directory: Path, address: str | None) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingExtra("Ray", "ray")
        if address:
            _knock(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray  # noqa: PLC0415 - loads for a second

        self._ray = ray
        self._stays = address is not None
        self._closing = threading.Event()
        self._ending: dict[str, threading.Thread] = {}
        try:
            ray.init(
                address or "local",
                namespace=f"reconciler-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:10]}",
                include_dashboard=None if self._stays else False,
                log_to_driver=False,
                logging_level="ERROR",
            )
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise _not_joined(address, error) from error
        has = ray.cluster_resources()
        parts = [f"{has.get(name, 0):.0f} {name}s" for name in ("CPU", "GPU") if has.get(name)]
        place = f"at {address}" if address else "started here"
        self.where = f"a Ray cluster {place} ({', '.join(parts) or 'no processors yet'})"

    @contextlib.contextmanager
    def lend(self, control: Control) -> Iterator[Device | None]:  # noqa: ARG002 - Ray lets jobs wait
        """Lend whatever Ray chooses."""
        yield CLUSTER

    def start(self, order: Order, device: Device) -> RayProcess:  # noqa: ARG002
        """Find the job's actor, or what it said before it ended, or else start one."""
        if (ending := self._ending.get(order.job_id)) is not None:
            ending.join()
        file = told_file(order.workdir)
        actor = self._find(order.job_id)
        heard = order.state.step if order.state else -1
        several = order.entry.resources.workers > 1
        if actor is None and file.exists():
            return RayProcess(self._ray, None, file, stays=self._stays, heard=heard, several=several)
        asked = self._asked(order.entry.resources)
        if actor is None:
            file.write_text(f"{Told(kind=_ASKED).model_dump_json(exclude_defaults=True)}\n", encoding="utf-8")
            actor = self._actor(order.job_id, asked)
        else:
            actor.keep.remote(max(0, heard))
        threads = None if order.threads is None else asked.cpus
        entry = order.entry.model_copy(update={"resources": asked})
        shared = {name: os.environ[name] for name in _SHARED if name in os.environ}
        actor.train.remote(  # found or new: what a server asked of one that waits for a place ends with that server
            order.model_copy(update={"threads": threads, "entry": entry}).model_dump_json(), {**ENVIRONMENT, **shared}
        )
        return RayProcess(self._ray, actor, file, stays=self._stays, wish=_wish(asked), heard=heard, several=several)

    def _asked(self, asked: Resources) -> Resources:
        """Say how many GPUs, where the catalogue does not: as the cluster is now, whose nodes come and go."""
        if asked.gpus is not None:
            return asked
        return asked.model_copy(update={"gpus": 1 if self._ray.cluster_resources().get("GPU") else 0})

    def _actor(self, name: str, asked: Resources) -> Any:  # noqa: ANN401 - Ray's handles are not typed
        """Start an actor that has what its process needs; where that starts workers, they have it."""
        options: dict[str, Any] = {"num_cpus": 0}
        if asked.workers == 1:
            options = {"num_cpus": asked.cpus, "num_gpus": asked.gpus}
            if asked.memory is not None:
                options["memory"] = int(asked.memory)
        remote: Any = self._ray.remote(Actor)
        return remote.options(name=name, lifetime="detached", max_concurrency=2, **options).remote()

    def _find(self, name: str) -> Any:  # noqa: ANN401
        try:
            return self._ray.get_actor(name)
        except ValueError:
            return None

    def keep_only(self, job_ids: Collection[str]) -> None:
        """End the actors of other jobs, in threads: they were cancelled or paused while no server ran."""
        with contextlib.suppress(self._ray.exceptions.RayError):  # they end by themselves, only later
            for name in self._ray.util.list_named_actors():
                if name not in job_ids and (actor := self._find(name)) is not None:
                    self._ending[name] = threading.Thread(target=self._end, args=(actor,), daemon=True)
                    self._ending[name].start()

    def _end(self, actor: Any) -> None:  # noqa: ANN401
        """Kill an actor once it has let go of its workers; where the server ends first, the next one does."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            going = [actor.give_up.remote()]
            deadline = time.monotonic() + _FREED
            while going and time.monotonic() < deadline:
                _, going = self._ray.wait(going, timeout=0.5)
                if going and self._closing.is_set():
                    return
            self._ray.kill(actor)

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._closing.set()
        for thread in self._ending.values():
            thread.join()
        self._ray.shutdown()


def _wish(asked: Resources) -> str:
    """Say what a job asks for."""
    each = f"cpus {asked.cpus}, gpus {asked.gpus:g}" + ("" if asked.memory is None else f", memory {asked.memory:g}")
    return each if asked.workers == 1 else f"{asked.workers} workers, each with {each}"


def _not_joined(address: str | None, error: Exception) -> UsageError:
    why = " ".join(str(error).split()).partition(". ")[0][:200]
    if address is None:
        return UsageError("Ray cannot be started here.", hint=f"{why}.")
    if address == "auto" and isinstance(error, ConnectionError):
        return UsageError("This machine is no node of a Ray cluster.", hint=_START)
    return UsageError(f"The Ray cluster at {address} cannot be joined.", hint=f"{why}. {_ALIKE}")


def _knock(address: str) -> None:
    """See that somebody listens at HOST:PORT: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise UsageError(f"{address!a} is no address of a Ray cluster.", hint="Use HOST:PORT, or auto.")
    try:
        socket.create_connection((host, int(port)), _KNOCK).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"There is no Ray cluster at {address}.", hint=f"{error}. {_START}") from error


class RayProcess:
    """A job's process, heard through its file. ``heard`` is the step up to which checkpoints are known already.

    One of ``several`` workers is asked to let go of them before it is killed.
    """

    def __init__(
        self,
        ray: Any,  # noqa: ANN401
        actor: Any,  # noqa: ANN401
        file: Path,
        *,
        stays: bool,
        heard: int,
        wish: str = "",
        several: bool = False,
    ) -> None:
        self._ray = ray
        self._actor = actor
        self._file = file
        self._stays = stays
        self._heard = heard
        self._wish = wish
        self._several = several
        self._read = 0
        self._first = _first(file)
        self._end: Told | None = None
        self._lost = actor is None
        self._left = self._starved = False
        self._began = self._pinged = time.monotonic()
        self._ping = None if actor is None else actor.ping.remote()

    def tell(self, line: str) -> None:
        """Ask it to end, having saved or not, or say which checkpoint was recorded."""
        if self._actor is None:
            return
        if line == STOP:
            self._actor.request_stop.remote()
        elif line == DROP:
            self._actor.drop.remote()
        else:
            said = Said()
            said.hear(line)
            self._actor.keep.remote(said.kept)

    def hear(self, seconds: float) -> bytes | None:
        """Return its next line; where its node is lost, all that it wrote comes first."""
        lost = self._lost
        if (line := self._line()) is not None:
            return line
        if self._end is not None or lost:
            return None
        self._lost = not self._is_there()
        if not self._lost:
            time.sleep(seconds)
        return self._waiting()

    def _line(self) -> bytes | None:
        """Return the next whole line of the file; of its first, and of checkpoints that are known, there is none."""
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                line = file.readline()
        except FileNotFoundError:
            return None
        if not line.endswith(b"\n"):
            return None
        self._read += len(line)
        told = Told.model_validate_json(line)
        if told.kind == ENDED:
            self._end = told
            return None
        known = told.kind == _ASKED or (told.kind == "saved" and told.step <= self._heard)
        return b"" if known else line

    def _is_there(self) -> bool:
        """Whether its node answers, or may still: one that waits for a place does not yet."""
        if not self._ray.wait([self._ping], timeout=0)[0]:
            return True
        try:
            if self._ray.get(self._ping):
                self._wish = ""
        except self._ray.exceptions.ActorUnavailableError:
            pass
        except self._ray.exceptions.OutOfMemoryError:  # of the node: Ray chose this actor to end
            self._starved = True
            return False
        except self._ray.exceptions.RayActorError:
            return False
        if time.monotonic() > self._pinged + _PING_EVERY:
            self._pinged = time.monotonic()
            self._ping = self._actor.ping.remote()
        return True

    def _waiting(self) -> bytes:
        """Say once that the job waits for a place in the cluster."""
        if not self._wish or time.monotonic() < self._began + _WAITS:
            return b""
        wish, self._wish = self._wish, ""
        return Told(kind="note", message=f"Waits for a place in the cluster: {wish}.").model_dump_json().encode()

    def leave(self) -> bool:
        """Let it train on, where its cluster stays."""
        self._left = self._stays
        return self._left

    def end(self, patience: float = 0) -> int:  # noqa: ARG002 - what has ended has said so
        """Kill the actor, and with it the process, and wait until its name is free.

        Where another server has begun anew meanwhile, the file is its own.
        """
        if self._left:
            return 0
        if self._actor is not None:
            if self._several and self._end is None:
                self._ray.wait([self._actor.give_up.remote()], timeout=_FREED)
            self._ray.kill(self._actor)
            self._wait_until_gone()
        if _first(self._file) == self._first:
            self._file.unlink(missing_ok=True)
        return self._end.step if self._end is not None else _LOST

    def _wait_until_gone(self) -> None:
        deadline = time.monotonic() + _FREED
        while time.monotonic() < deadline:
            try:
                self._ray.get(self._actor.ping.remote(), timeout=_FREED)
            except self._ray.exceptions.RayError:
                return
            time.sleep(0.1)

    def starved(self) -> bool | None:
        """Whether memory ran out, as its node or Ray says; a node that is lost says nothing of it."""
        if self._end is None:
            return self._starved
        return None if self._end.code == KILLED else self._end.code == MEMORY

    def last_words(self) -> str:
        """Return what it printed last."""
        return self._end.message if self._end is not None else ""


def _first(file: Path) -> bytes:
    """Return the first line of a file; none of one that is gone."""
    try:
        with file.open("rb") as opened:
            return opened.readline()
    except FileNotFoundError:
        return b""
