"""Stands in for the subprocess that answers: says its question's last message back, word by word.

After the word ``wait`` it waits to be told that nobody reads any more; at ``die`` it ends; ``refuse`` refuses, and at
``break`` the model broke.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    for line in sys.stdin:
        if line.strip() == "cancel":
            continue  # it came too late
        words = json.loads(line)["messages"][-1]["content"].split()
        for word in words:
            if word == "die":
                return
            if word in {"refuse", "break"}:
                code = "no" if word == "refuse" else "server_error"
                print(json.dumps({"kind": "refused", "code": code, "text": "No."}), flush=True)
                break
            print(json.dumps({"kind": "piece", "text": f"{word} "}), flush=True)
            if word == "wait" and sys.stdin.readline().strip() == "cancel":
                print(json.dumps({"kind": "piece", "text": "unread"}), flush=True)
        else:
            print(json.dumps({"kind": "end", "completion_tokens": len(words)}), flush=True)


if __name__ == "__main__":
    main()
