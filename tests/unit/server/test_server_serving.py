"""Real processes: finding a server, ending one, and killing one at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import LASTING, SETTINGS, ServeProcess, create, everything, reach, retrieve, story, upload, wait

from reconciler.api.loopback import is_loopback
from reconciler.errors import StoreError, UsageError
from reconciler.server import jobs
from reconciler.server import serve as serve_module
from reconciler.server.context import Settings
from reconciler.server.local import IN_PROCESS_URL, find_running, open_local
from reconciler.server.presence import FILE, Presence
from reconciler.server.serve import serve as serve_http
from reconciler.server.store import DATABASE, Store


def kill_until_done(directory: Path, kills: int, seed: int, unbroken: dict[str, Any]) -> None:
    """Create jobs, kill the server at random moments, and compare what it makes in the end."""
    moments = random.Random(seed)
    with ServeProcess(directory, speed=1.0) as server:
        file = upload(server.client)
        made = [create(server.client, file, validation_file=file, **SETTINGS)["id"] for _ in range(3)]
        for _ in range(kills):
            time.sleep(moments.uniform(0.0, 0.4))
            server.kill()
            server.start()
        listed = [job["id"] for job in server.client.get("fine_tuning/jobs").json()["data"]]
        assert listed == made[::-1]
        for job_id in made:
            assert story(server.client, reach(server.client, job_id, "succeeded")) == unbroken
            events = everything(server.client, job_id, "events")
            assert len({e["id"] for e in events}) == len(events)
            assert [e["message"] for e in events].count("Fine-tuning job started") == 1
            assert [e["message"] for e in events].count("The job has successfully completed") == 1


def test_killed_at_random_moments_it_ends_as_an_unbroken_run_does(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    kill_until_done(tmp_path, 3, seed=1, unbroken=unbroken)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.slow if seed < 2 else pytest.mark.soak) for seed in range(5)]
)
def test_killed_ten_times_more_it_still_does(tmp_path: Path, seed: int, unbroken: dict[str, Any]) -> None:
    kill_until_done(tmp_path, 10, seed, unbroken)


def saved(directory: Path, job_id: str) -> bytes | None:
    """What a job goes on from; one whose first epoch has not ended saves only where it is asked to stop."""
    store = Store(directory)
    with store.read() as db:
        job = jobs.get(db, job_id)
    store.close()
    assert job is not None
    return job.state


def test_a_server_ends_well_when_asked_and_takes_its_announcement_back(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with ServeProcess(tmp_path, speed=0.05) as server:
            job_id = create(server.client, upload(server.client), **LASTING)["id"]
            reach(server.client, job_id, "running")
            assert find_running(tmp_path) is not None
            assert server.end(number) == 0
            assert saved(tmp_path, job_id) is not None
            assert not (tmp_path / FILE).exists()


def test_when_the_one_that_trains_is_killed_another_goes_on_within_seconds(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, speed=0.05) as first:
        wait(lambda: first.trains)
        with ServeProcess(tmp_path) as second:
            job_id = create(second.client, upload(second.client), **SETTINGS)["id"]
            reach(second.client, job_id, "running")
            first.kill()
            assert reach(second.client, job_id, "succeeded")["fine_tuned_model"]


def freeze_between_writes(server: ServeProcess) -> None:
    """Stop a process where it holds no lock of the database's: one that does keeps everybody out until it goes on."""

    def can_be_written() -> bool:
        with contextlib.closing(sqlite3.connect(server.directory / DATABASE, timeout=2)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            return True

    def freeze() -> bool:
        server.thaw()
        time.sleep(0.01)
        server.freeze()
        return can_be_written()

    wait(freeze)


@pytest.mark.slow
def test_a_frozen_process_that_wakes_up_late_writes_nothing(tmp_path: Path, unbroken: dict[str, Any]) -> None:
    with ServeProcess(tmp_path, speed=0.05) as first:
        wait(lambda: first.trains)
        with ServeProcess(tmp_path) as second:
            file = upload(second.client)
            job_id = create(second.client, file, validation_file=file, **SETTINGS)["id"]
            reach(second.client, job_id, "running")
            freeze_between_writes(first)
            done = reach(second.client, job_id, "succeeded")
            first.thaw()
            time.sleep(0.5)
            assert story(second.client, retrieve(second.client, job_id)) == unbroken
            assert retrieve(second.client, job_id) == done


def test_a_hundred_clients_at_once_each_get_their_jobs(tmp_path: Path) -> None:
    barrier = threading.Barrier(100)
    with ServeProcess(tmp_path, speed=100) as server:
        file = upload(server.client)

        def work(number: int) -> str:
            with httpx.Client(base_url=server.client.base_url, timeout=60, trust_env=False) as client:
                barrier.wait()
                job_id = str(create(client, file, metadata={"n": str(number)})["id"])
                (found,) = client.get(f"fine_tuning/jobs?metadata[n]={number}").json()["data"]
                assert found["id"] == job_id
                return job_id

        with ThreadPoolExecutor(100) as pool:
            made = list(pool.map(work, range(100)))
    assert len(set(made)) == 100


@contextlib.contextmanager
def half_an_upload(server: ServeProcess) -> Iterator[None]:
    """Hold a connection on which an upload has begun and does not go on."""
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="half.jsonl"\r\n\r\n'
    )
    port = server.client.base_url.port or 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + b"x" * 2_000_000)
        wait(lambda: any(path.stat().st_size for path in (server.directory / "incoming").iterdir()))
        yield


def test_half_an_upload_is_never_listed_whether_the_client_or_the_server_dies(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        with half_an_upload(server):
            server.kill()
        server.start()
        assert server.client.get("files").json()["data"] == []
        (left,) = (tmp_path / "incoming").iterdir()
        left.unlink()
        with half_an_upload(server):
            pass
        wait(lambda: not list((tmp_path / "incoming").iterdir()))
        assert server.client.get("files").json()["data"] == []
        upload(server.client)


def test_local_finds_a_running_server_and_its_key_file_is_private(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        mode = stat.S_IMODE((tmp_path / FILE).stat().st_mode)
        assert mode == 0o600

        async def base_url() -> str:
            async with open_local(tmp_path) as local:
                assert local.app is None
                return local.base_url

        assert httpx.URL(asyncio.run(base_url())).port == server.client.base_url.port


async def test_local_runs_the_application_in_this_process_and_the_next_command_goes_on(tmp_path: Path) -> None:
    async def call(method: str, path: str, **more: Any) -> Any:
        assert local.app is not None
        async with httpx.AsyncClient(transport=httpx.ASGITransport(local.app), base_url=local.base_url) as client:
            answer = await client.request(method, path, **more)
            assert answer.status_code == 200, answer.text
            return answer.json()

    rows = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 40

    async def reaches(job_id: str, status: str) -> None:
        deadline = time.monotonic() + 30
        while (await call("GET", f"fine_tuning/jobs/{job_id}"))["status"] != status:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async with open_local(tmp_path, speed=0.05) as local:
        assert local.base_url == IN_PROCESS_URL
        file = await call("POST", "files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", rows)})
        job = await call("POST", "fine_tuning/jobs", json={"model": "simulated-slow", "training_file": file["id"]})
        await reaches(job["id"], "running")
    assert saved(tmp_path, job["id"]) is not None
    async with open_local(tmp_path, speed=100) as local:
        await reaches(job["id"], "succeeded")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"url": 1, "pid": 2, "instance": 3}',
        b'{"url": "file:///etc/passwd", "pid": 1, "instance": "x"}',
        b'{"url": "http://127.0.0.1:9/v1", "pid": 1, "instance": "x"}',
        b'{"url": "http://127.0.0.1:9/v1", "pid": 1, "instance": "x", "more": 1}',
        b"\xff\xfe",
    ],
)
def test_an_announcement_that_makes_no_sense_or_does_not_answer_is_not_believed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert find_running(tmp_path) is None


def test_a_server_that_answers_as_another_instance_is_not_believed(tmp_path: Path) -> None:
    with ServeProcess(tmp_path / "one") as server:
        found = json.loads((tmp_path / "one" / FILE).read_bytes())
        Presence(found["url"], os.getpid(), "of another start").write(tmp_path)
        assert find_running(tmp_path) is None
        assert find_running(tmp_path / "one") is not None
        server.kill()
        assert find_running(tmp_path / "one") is None


@pytest.mark.slow
def test_a_server_that_is_too_busy_to_answer_at_once_is_found(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        server.freeze()
        busy = threading.Timer(3, server.thaw)
        busy.start()
        found = find_running(tmp_path)
        busy.join()
        assert found is not None


def test_an_announcement_of_another_server_is_left_alone(tmp_path: Path) -> None:
    mine = Presence("http://127.0.0.1:1/v1", 1, "mine", "key")
    other = Presence("http://127.0.0.1:2/v1", 2, "other")
    other.write(tmp_path)
    mine.remove(tmp_path)
    assert Presence.read(tmp_path) == other
    assert "key" not in repr(mine)


@pytest.mark.slow  # it waits for those that are answered
def test_what_outlasts_the_server_is_cut_off_without_a_trace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with ServeProcess(tmp_path) as server:
        url = server.client.base_url
        assert url.port is not None
        with socket.create_connection((url.host, url.port)) as asking:
            head = (
                "POST /v1/fine_tuning/jobs HTTP/1.1",
                f"Host: {url.host}",
                "Content-Length: 9",
                "Expect: 100-continue",
            )
            asking.sendall("\r\n".join([*head, "", ""]).encode())
            assert asking.recv(100).startswith(b"HTTP/1.1 100 ")  # it waits for the body
            assert server.end() == 0
    assert "Traceback" not in capfd.readouterr().err


def test_a_server_that_goes_leaves_the_announcement_to_the_one_that_was_there_before(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as first:
        before = find_running(tmp_path)
        with ServeProcess(tmp_path) as second:
            assert find_running(tmp_path) not in (None, before)
            second.end()
        assert find_running(tmp_path) == before
        first.end()
    assert not (tmp_path / FILE).exists()


def test_a_server_does_not_ask_itself_for_one_that_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Presence] = []
    monkeypatch.setattr(serve_module, "is_running", asked.append)
    mine = Presence("http://127.0.0.1:1/v1", 1, "mine")
    mine.write(tmp_path)
    serve_module._take_back(mine, tmp_path, Presence(mine.url, 2, "killed"))
    assert (asked, (tmp_path / FILE).exists()) == ([], False)


def test_a_server_that_is_gone_is_not_announced_again(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as first, ServeProcess(tmp_path) as second:
        first.kill()
        second.end()
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_without_a_key_only_this_machine_is_served(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="let everybody in"):
        await serve_http(tmp_path, host=host, port=0)
    assert find_running(tmp_path) is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9:8787", True),
        ("::1", True),
        ("[::1]:8787", True),
        ("localhost:8787", True),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
        ("[", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_its_address(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_a_name_that_somebody_points_at_this_machine_gets_nothing(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server:
        for host, status in (("rebound.example:80", 421), ("localhost:1", 200)):
            assert server.client.get("models", headers={"Host": host}).status_code == status


async def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as server, pytest.raises(UsageError, match="Cannot serve on") as caught:
        await serve_http(tmp_path, port=server.client.base_url.port or 0)
    assert caught.value.hint == "Choose another --port."


async def test_an_address_that_is_not_this_machines_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot serve on 192\.0\.2\.1 port 0: [^(]*$") as caught:
        await serve_http(tmp_path, host="192.0.2.1", port=0, settings=Settings(api_key="key"))
    assert "--host" in caught.value.hint


async def test_a_trainer_that_is_not_installed_is_said_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_TRAINER", "alchemy")
    with pytest.raises(UsageError) as caught:
        async with open_local(tmp_path):
            pass
    assert "simulated" in caught.value.hint


async def test_a_directory_that_cannot_be_used_is_said() -> None:
    with pytest.raises(StoreError):
        async with open_local(Path(__file__)):
            pass
