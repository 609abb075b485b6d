"""The least that a plan must do, as a script: download and parse all pages of jobs, read and parse all specs.

It checks nothing, compares nothing and says how much there was. Usage: ``python minimal.py BASE_URL OWNER SPECS``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import ryaml


def main(base_url: str, owner: str, specs: str) -> None:
    """Read everything, once."""
    jobs: list[Any] = []
    params = {"limit": "100", "metadata[reconciler.owner]": owner}
    with httpx.Client() as client:
        more = True
        while more:
            page = json.loads(client.get(f"{base_url}/fine_tuning/jobs", params=params).content)
            jobs += page["data"]
            more = page["has_more"]
            params["after"] = page["data"][-1]["id"]
    parsed = [ryaml.loads(path.read_text()) for path in Path(specs).rglob("*.yaml")]  # type: ignore[attr-defined]
    print(len(jobs), len(parsed))


if __name__ == "__main__":
    main(*sys.argv[1:])
