"""Holds training where a test says: a process that trains loads this by itself, from a directory in its PYTHONPATH.

``hold.json`` in the server's directory says where: ``{"hook": "on_step_begin", "step": 3}`` is once step 3 is told.
There training says ``held`` in a note, and waits: until it is asked to stop, until it knows that the checkpoint of step
``kept`` is recorded, where the file says one, or until the file is another or gone.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_WATCH = "reconciler.server.trainers.trl.watch"
_HOOKS = ("on_step_begin", "on_prediction_step")
_NEVER = 1_000_000


class _Finder:
    """Finds what watches training once it is asked for, and has it wait; nothing is loaded before its time."""

    @classmethod
    def find_spec(cls, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if name != _WATCH:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        loader: Any = spec.loader
        load = loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            for hook in _HOOKS:
                setattr(module.Watch, hook, _holding(hook, getattr(module.Watch, hook)))

        loader.exec_module = load_and_change
        return spec


def _holding(hook: str, called: Callable[..., None]) -> Callable[..., None]:
    def hold(watch: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        called(watch, args, state, control, **more)
        asked = _asked(watch)
        if (asked.get("hook"), asked.get("step")) != (hook, state.global_step):
            return
        _tell(watch, "held")
        wishes = watch._wishes
        while _asked(watch) == asked and not wishes.stop and wishes.kept < asked.get("kept", _NEVER):
            time.sleep(0.02)

    return hold


def _asked(watch: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(watch._order.cache.with_name("hold.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _tell(watch: Any, words: str) -> None:
    from reconciler.server.trainers.trl.order import Told  # noqa: PLC0415 - it is loaded by now

    watch._tell(Told(kind="note", message=words))


sys.meta_path.insert(0, _Finder)
