"""The result file of a job: a CSV with the numbers of every recorded step."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from reconciler.server import documents, files, lifecycle
from reconciler.server.documents import Document
from reconciler.server.store import Store


def write(store: Store, job_id: str, steps: Sequence[Document], now: float) -> files.Stored:
    """Put the result file on disk. Its id follows from the job's: written again, it is the same file.

    Raises:
        StoreError: the disk is full.
    """
    columns = list(dict.fromkeys(name for step in steps for name in step if name != "total_steps"))
    text = io.StringIO()
    table = csv.DictWriter(text, columns or ["step"], extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    table.writerows(steps)
    file_id = lifecycle.derived_id("file-", "results", job_id)
    with files.incoming(store) as target:
        target.write(text.getvalue().encode())
        sha256 = target.finish(file_id)
    document = documents.file(
        file_id=file_id,
        size=target.size,
        created_at=int(now),
        filename="step_metrics.csv",
        purpose="fine-tune-results",
    )
    return files.Stored(document, sha256)
