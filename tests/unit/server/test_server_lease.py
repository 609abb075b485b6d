"""The lease: one process trains, and a process that lost it cannot write."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from reconciler.server import lease
from reconciler.server.lease import Lease, LeaseLost
from reconciler.server.store import Store

NOW = 1_000_000.0


def take(store: Store, holder: str, now: float = NOW) -> Lease | None:
    with store.write() as db:
        return lease.take(db, holder, now)


def other(machine: str = "elsewhere") -> str:
    return f"{machine}|1|abc"


def mine_with_pid(pid: int) -> str:
    machine, _, rest = lease.new_holder().split("|")
    return f"{machine}|{pid}|{rest}"


def test_a_lease_that_somebody_holds_cannot_be_taken(store: Store) -> None:
    assert take(store, other()) is not None
    assert take(store, lease.new_holder(), NOW + lease.SECONDS - 0.1) is None


def test_a_lease_runs_out(store: Store) -> None:
    first = take(store, other())
    second = take(store, lease.new_holder(), NOW + lease.SECONDS)
    assert first is not None
    assert second is not None
    assert second.token > first.token


def test_a_lease_that_is_released_is_free_at_once(store: Store) -> None:
    first = take(store, other())
    assert first is not None
    with store.write() as db:
        lease.release(db, first)
    assert take(store, lease.new_holder()) is not None


def test_releasing_a_lost_lease_leaves_the_new_holder_alone(store: Store) -> None:
    first = take(store, other("one"))
    second = take(store, other("two"), NOW + lease.SECONDS)
    assert first is not None
    assert second is not None
    with store.write() as db:
        lease.release(db, first)
        lease.check(db, second)


def test_renewing_keeps_a_lease(store: Store) -> None:
    first = take(store, other())
    assert first is not None
    with store.write() as db:
        lease.renew(db, first, NOW + 5)
    assert take(store, lease.new_holder(), NOW + lease.SECONDS + 4) is None


def test_a_holder_that_lost_its_lease_can_neither_renew_nor_write(store: Store) -> None:
    first = take(store, other())
    assert first is not None
    assert take(store, lease.new_holder(), NOW + lease.SECONDS) is not None
    with pytest.raises(LeaseLost), store.write() as db:
        lease.renew(db, first, NOW)
    with pytest.raises(LeaseLost), store.write() as db:
        lease.check(db, first)


def test_a_clock_set_back_does_not_keep_a_dead_holder_for_long(store: Store) -> None:
    assert take(store, other(), NOW + 1_000_000) is not None
    assert take(store, lease.new_holder(), NOW) is not None


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells whether a process lives")
def test_a_dead_process_of_this_machine_is_not_waited_for(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert take(store, mine_with_pid(process.pid)) is not None
    assert take(store, lease.new_holder()) is not None


def test_a_process_id_of_another_machine_means_nothing_here(store: Store) -> None:
    assert take(store, f"elsewhere|{2**22 + 1}|abc") is not None
    assert take(store, lease.new_holder()) is None


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells whether a process lives")
def test_a_living_process_of_this_machine_is_waited_for(store: Store) -> None:
    assert take(store, mine_with_pid(os.getppid())) is not None
    assert take(store, lease.new_holder()) is None
