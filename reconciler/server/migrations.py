"""The database's schema, as named steps in order. A step that has been released is never edited."""

from __future__ import annotations

import sqlite3
import time

from reconciler.errors import StoreError

MIGRATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "0001-jobs-files-models",
        (
            # `document` is the job as the API shows it. `step` is the last one recorded, `state` what the trainer
            # needs to go on from its last checkpoint; `rows` and `tokens` are known once the data has been checked.
            """
            CREATE TABLE jobs (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                status TEXT NOT NULL,
                document TEXT NOT NULL,
                step INTEGER NOT NULL DEFAULT 0,
                rows INTEGER NOT NULL DEFAULT 0,
                tokens INTEGER NOT NULL DEFAULT 0,
                state BLOB
            )
            """,
            """
            CREATE INDEX jobs_unfinished ON jobs (status, seq)
            WHERE status IN ('validating_files', 'queued', 'running', 'paused')
            """,
            # The order of the key is the order of a filtered listing.
            """
            CREATE TABLE job_metadata (
                key TEXT NOT NULL,
                value TEXT NOT NULL,
                job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
                PRIMARY KEY (key, value, job)
            ) WITHOUT ROWID
            """,
            """
            CREATE TABLE events (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
                document TEXT NOT NULL
            )
            """,
            "CREATE INDEX events_of_job ON events (job, seq)",
            # A checkpoint made by a pause is `temporary`: it goes when training has got further.
            """
            CREATE TABLE checkpoints (
                job INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
                step INTEGER NOT NULL,
                id TEXT NOT NULL UNIQUE,
                model TEXT NOT NULL UNIQUE,
                temporary INTEGER NOT NULL,
                document TEXT NOT NULL,
                PRIMARY KEY (job, step)
            ) WITHOUT ROWID
            """,
            """
            CREATE TABLE files (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                purpose TEXT NOT NULL,
                sha256 TEXT NOT NULL,
                expires_at INTEGER,
                document TEXT NOT NULL
            )
            """,
            "CREATE TABLE models (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID",
            # Who trains. `token` rises with every change of hands, and every write of progress must name it.
            """
            CREATE TABLE lease (
                one INTEGER PRIMARY KEY CHECK (one = 1),
                holder TEXT,
                token INTEGER NOT NULL,
                expires_at REAL NOT NULL
            )
            """,
            "INSERT INTO lease VALUES (1, NULL, 0, 0)",
        ),
    ),
    (
        "0002-uploads-in-parts",
        (
            # `expires_after` is what the finished file is given, in seconds.
            """
            CREATE TABLE uploads (
                id TEXT PRIMARY KEY,
                status TEXT NOT NULL,
                expires_at INTEGER NOT NULL,
                expires_after INTEGER,
                document TEXT NOT NULL
            ) WITHOUT ROWID
            """,
            """
            CREATE TABLE upload_parts (
                id TEXT PRIMARY KEY,
                upload TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
                size INTEGER NOT NULL
            ) WITHOUT ROWID
            """,
            "CREATE INDEX parts_of_upload ON upload_parts (upload)",
        ),
    ),
    (
        "0003-checkpoint-permissions",
        (
            """
            CREATE TABLE permissions (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                model TEXT NOT NULL,
                project TEXT NOT NULL,
                document TEXT NOT NULL,
                UNIQUE (model, project)
            )
            """,
        ),
    ),
    (
        "0004-webhooks",
        (
            # What is to be told of ended jobs: noted by the trigger, in the transaction that ends a job.
            """
            CREATE TABLE webhooks (
                seq INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                job TEXT NOT NULL,
                type TEXT NOT NULL,
                created_at INTEGER NOT NULL,
                attempts INTEGER NOT NULL DEFAULT 0,
                due_at REAL NOT NULL DEFAULT 0
            )
            """,
            "CREATE INDEX webhooks_due ON webhooks (due_at)",
            """
            CREATE TRIGGER job_ended AFTER UPDATE OF status ON jobs
            WHEN NEW.status <> OLD.status AND NEW.status IN ('succeeded', 'failed', 'cancelled')
            BEGIN
                INSERT INTO webhooks (id, job, type, created_at) VALUES (
                    'evt_' || lower(hex(randomblob(16))), NEW.id, 'fine_tuning.job.' || NEW.status,
                    CAST(strftime('%s', 'now') AS INTEGER)
                );
            END
            """,
        ),
    ),
    (
        "0005-trainers",
        (
            # Whose job it is: another trainer can neither go on with it nor make what it was accepted for. NULL is
            # a job from before this was noted.
            "ALTER TABLE jobs ADD COLUMN trainer TEXT",
        ),
    ),
)


def migrate(db: sqlite3.Connection) -> None:
    """Bring a database up to date, each step in the transaction that records it.

    Raises:
        StoreError: the database was written by a newer version.
    """
    db.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL)")
    for name, statements in MIGRATIONS:
        db.execute("BEGIN IMMEDIATE")
        try:
            if not _applied(db, name):
                for statement in statements:
                    db.execute(statement)
                db.execute("INSERT INTO migrations VALUES (?, ?)", (name, int(time.time())))
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    known = {name for name, _ in MIGRATIONS}
    if unknown := sorted({name for (name,) in db.execute("SELECT name FROM migrations")} - known):
        raise StoreError(
            f"The database was written by a newer version of this program (it has {unknown[-1]!r}).",
            hint="Upgrade finetune-reconciler, or use another directory.",
        )


def _applied(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM migrations WHERE name = ?", (name,)).fetchone() is not None
