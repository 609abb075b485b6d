"""Stands in for the training subprocess: says what ``script.json`` beside its order has for this start.

A script is a list of starts, each a list of lines. The word ``die`` ends it by SIGKILL, ``abort`` by SIGABRT, ``wait``
waits to be told something, ``hear`` says what, too. Where no start is left, it is done.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path


def main() -> None:
    order = Path(sys.argv[-1])
    script = order.with_name("script.json")
    starts = json.loads(script.read_text())
    script.write_text(json.dumps(starts[1:]))
    order.with_name(f"order.{len(starts)}.json").write_text(order.read_text())
    for line in starts[0]:
        if line == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif line == "abort":
            os.kill(os.getpid(), signal.SIGABRT)
        elif line == "wait":
            sys.stdin.readline()
        elif line == "hear":
            print(json.dumps({"kind": "note", "message": sys.stdin.readline().strip()}), flush=True)
        else:
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
