"""The database: its schema, its transactions, and what happens to it on a full disk."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from reconciler.errors import StoreError
from reconciler.server.migrations import MIGRATIONS
from reconciler.server.store import DATABASE, StorageFull, Store


def count(store: Store, table: str) -> int:
    with store.read() as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def add_model(db: sqlite3.Connection, name: str, size: int = 2) -> None:
    db.execute("INSERT INTO models VALUES (?, ?)", (name, "x" * size))


def test_every_migration_is_recorded_once_however_often_the_database_is_opened(tmp_path: Path) -> None:
    for _ in range(3):
        store = Store(tmp_path)
        with store.read() as db:
            names = [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY name")]
        store.close()
        assert names == [name for name, _ in MIGRATIONS]


def test_many_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    faults: list[Exception] = []

    def open_and_close() -> None:
        try:
            Store(tmp_path).close()
        except StoreError as error:
            faults.append(error)

    threads = [threading.Thread(target=open_and_close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_database_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.write() as db:
        db.execute("INSERT INTO migrations VALUES ('9999-from-the-future', 0)")
    store.close()
    with pytest.raises(StoreError, match="9999-from-the-future") as caught:
        Store(tmp_path)
    assert "Upgrade" in caught.value.hint


def test_a_step_that_fails_leaves_nothing_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).close()
    broken = (*MIGRATIONS, ("0002-broken", ("CREATE TABLE half (x)", "CREATE NONSENSE")))
    monkeypatch.setattr("reconciler.server.migrations.MIGRATIONS", broken)
    with pytest.raises(StoreError):
        Store(tmp_path)
    monkeypatch.undo()
    store = Store(tmp_path)
    with store.read() as db:
        assert db.execute("SELECT name FROM sqlite_schema WHERE name = 'half'").fetchone() is None
    store.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"certainly not a database" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path)


def test_a_write_that_another_process_does_not_finish_is_named_as_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.server.store._BUSY_SECONDS", 0.1)
    stopped, store = Store(tmp_path), Store(tmp_path)
    with stopped.write(), pytest.raises(StoreError, match="is locked") as caught, store.write():
        pass
    assert "let it go on, or end it" in caught.value.hint.lower()
    stopped.close()
    store.close()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "occupied")


def test_a_transaction_that_fails_changes_nothing(store: Store) -> None:
    def half() -> None:
        with store.write() as db:
            add_model(db, "one")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        half()
    assert count(store, "models") == 0
    with store.write() as db:
        add_model(db, "two")
    assert count(store, "models") == 1


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError, match="readonly"), store.read() as db:
        add_model(db, "sneaky")


def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    with store.write() as db:
        add_model(db, "uncommitted")
        assert count(store, "models") == 0
    assert count(store, "models") == 1


def test_what_a_reader_sees_is_of_one_moment(store: Store) -> None:
    """An upload that another request completes between two looks is not one that is open and has no parts."""
    count_models = "SELECT count(*) FROM models"
    with store.read() as db:
        assert db.execute(count_models).fetchone() == (0,)
        with store.write() as writer:
            add_model(writer, "meanwhile")
        assert db.execute(count_models).fetchone() == (0,)
    assert count(store, "models") == 1


def test_a_full_disk_is_said_and_the_database_stays_whole(store: Store) -> None:
    with store.write() as db:
        add_model(db, "before")
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(StorageFull, match="no room left") as caught, store.write() as db:
        add_model(db, "after", size=400_000)
    assert "Free some space" in caught.value.hint
    assert count(store, "models") == 1
    with store.write() as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.execute("PRAGMA max_page_count = 1000000")
        add_model(db, "after")
    assert count(store, "models") == 2


def test_a_store_that_was_closed_says_so_instead_of_waiting(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.close()
    with pytest.raises(StoreError, match="has stopped"):
        count(store, "models")
    with pytest.raises(StoreError), store.write() as db:
        add_model(db, "late")
