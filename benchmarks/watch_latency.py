"""How long a watch takes from a saved file to its request on the wire, on the loopback."""

from __future__ import annotations

import http.server
import itertools
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

from harness import Report, arguments, environment

_SPEC = "name: spec-{number:04}\nmodel: m\ntraining_file: data/train.jsonl\nstate: paused\npriority: {priority}\n"
_ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
_EMPTY = b'{"object": "list", "data": [], "has_more": false}'


class _Server(http.server.ThreadingHTTPServer):
    """A server without a job that notes when each request arrives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.arrived: queue.Queue[float] = queue.Queue()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        self.server.arrived.put(time.monotonic())  # type: ignore[attr-defined]
        return super().parse_request()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_EMPTY)))
        self.end_headers()
        self.wfile.write(_EMPTY)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def watched(root: Path, specs: int) -> Iterator[_Server]:
    """Run a watch of a repository of so many specs, and the server that it asks."""
    (root / "specs" / "data").mkdir(parents=True)
    (root / "reconciler.yaml").write_text("owner: example.com/benchmark\n")
    data = root / "specs" / "data" / "train.jsonl"
    data.write_text(_ROW * 10)
    os.utime(data, (time.time() - 86_400,) * 2)
    for number in range(specs):
        save(root, number, 0)
    with _Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        command = [sys.executable, "-m", "reconciler", "watch", "--interval", "3600", "--server", url]
        with subprocess.Popen(command, cwd=root, env=environment(), stdout=subprocess.DEVNULL) as watch:
            try:
                server.arrived.get(timeout=60)
                time.sleep(1)  # until the file system is watched
                yield server
            finally:
                watch.terminate()
                watch.wait(30)
                server.shutdown()


def save(root: Path, number: int, priority: int) -> None:
    """Write a spec as editors do: beside it, then in its place."""
    beside = root / "specs" / ".saving"
    beside.write_text(_SPEC.format(number=number, priority=priority))
    beside.replace(root / "specs" / f"spec-{number:04}.yaml")


def measure(specs: int, saves: int) -> list[float]:
    """Save so many times, each before a look that comes of itself; return milliseconds."""
    found = []
    with tempfile.TemporaryDirectory() as folder, watched(Path(folder), specs) as server:
        for priority in itertools.islice(itertools.count(1), saves):
            while not server.arrived.empty():
                server.arrived.get()
            saved = time.monotonic()
            save(Path(folder), 0, priority)
            found.append((server.arrived.get(timeout=30) - saved) * 1000)
            time.sleep(0.9 + priority % 7 / 50)
    return found


def main() -> None:
    """Measure and print."""
    options = arguments(__doc__ or "", rounds=40).parse_args()
    report = Report("watch_latency")
    results = {specs: measure(specs, 3 if options.quick else options.rounds) for specs in (10, 100, 1000)}
    for specs, found in results.items():
        report.add(f"{specs} specs: from save to request", median(found), "ms")
        report.add(f"{specs} specs: nine in ten within", quantiles(found, n=10)[-1], "ms")
    report.print(median(results[10]) / 100, "<= 1: 100 ms", as_json=options.json)


if __name__ == "__main__":
    main()
