"""The program that runs a python grader, shut in as far as the system allows.

It is run by path as ``python -I inmate.py``, imports nothing of this package, and locks itself in before it looks at
the code: resources, then namespaces and a root of its own (``isolated``), capabilities, system calls. Request and
answer are JSON on standard input and output.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

FILE = "grader.py"
_FILE_BYTES = 16 * 1024 * 1024
_DISK = "size=64m,mode=755"
_OPEN_FILES = 64
_LATE = 124
"""The exit code of a grader that took too long."""

_NEW_NAMESPACES = (
    0x10000000 | 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000
)  # user mount net pid ipc uts
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_NOATIME, _MS_NODIRATIME, _MS_BIND, _MS_REC, _MS_PRIVATE, _MS_RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 21
_KEPT = {2: _MS_NOSUID, 4: _MS_NODEV, 8: _MS_NOEXEC, 1024: _MS_NOATIME, 2048: _MS_NODIRATIME, 4096: _MS_RELATIME}
"""Flags of a mount as statvfs has them, and as mount does: a namespace may not take one off."""

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_CAPABILITY_VERSION = 0x20080522

_MACHINES = {"x86_64": (0, 0xC000003E, 56), "aarch64": (1, 0xC00000B7, 220)}
"""By machine: the column below, how the kernel names it to a filter, and the number of clone."""
_CLONE3, _THREAD = 435, 0x00010000
_FORBIDDEN: Sequence[tuple[int | None, int | None]] = (
    *((57, None), (58, None), (59, 221), (322, 281)),  # fork, vfork, execve, execveat
    *((41, 198), (425, 425)),  # socket, io_uring_setup
    *(
        (272, 97),
        (308, 268),
        (165, 40),
        (166, 39),
        (155, 41),
        (161, 51),
    ),  # unshare to chroot, in order
    *((101, 117), (310, 270), (311, 271)),  # ptrace, process_vm_readv, process_vm_writev
    *((321, 280), (298, 241), (323, 282)),  # bpf, perf_event_open, userfaultfd
    *((248, 217), (249, 218), (250, 219)),  # add_key, request_key, keyctl
    *((175, 105), (313, 273), (246, 104), (304, 265)),  # init_module, finit_module, kexec_load, open_by_handle_at
    *((62, 129), (200, 130), (234, 131), (129, 138)),  # kill, tkill, tgkill, rt_sigqueueinfo
    *((434, 434), (424, 424), (438, 438)),  # pidfd_open, pidfd_send_signal, pidfd_getfd
    *((157, 167), (112, 157), (109, 154)),  # prctl, setsid, setpgid
)
_ALLOW, _REFUSE, _MISSING, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x00050000 | 38, 0x80000000
_LOAD, _EQUAL, _ABOVE, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


class _Step(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(_Step)))


def main() -> NoReturn:
    """Read the request, shut the door, grade, answer."""
    request = json.loads(sys.stdin.buffer.read())
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    try:
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])  # ends this process
        _shut_in(request["mode"], request["seconds"], request["memory"])
    except OSError as error:
        _answer(answer, {"error": "isolation", "details": str(error)})
    _answer(answer, _grade(request["source"], request["sample"], request["item"]))


def _answer(descriptor: int, answer: Mapping[str, Any]) -> NoReturn:
    os.write(descriptor, json.dumps(answer).encode())
    os._exit(0)  # nothing that the grader left behind runs any more


def _grade(source: str, sample: Any, item: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    names: dict[str, Any] = {"__name__": "grader", "__file__": FILE}
    try:
        exec(compile(source, FILE, "exec"), names)  # noqa: S102 - what this program is for
        if not callable(grade := names.get("grade")):
            return {"error": "runtime", "details": "The source defines no function grade(sample, item)."}
        reward = grade(sample, item)
        if not isinstance(reward, int | float) and not hasattr(reward, "__float__"):
            return {"error": "runtime", "details": f"grade() returned {type(reward).__name__}, not a number."}
        if not math.isfinite(reward := float(reward)):
            return {"error": "runtime", "details": f"grade() returned {reward}, not a finite number."}
    except BaseException as error:  # noqa: BLE001 - a grader may raise anything, SystemExit too
        return {"error": "runtime", "details": _words(error)}
    return {"reward": reward}


def _words(error: BaseException) -> str:
    """Say what was raised, and by which line of the grader."""
    line, trace = None, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == FILE else line
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == FILE:
        line = error.lineno
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)
    except BaseException:  # noqa: BLE001 - its own __str__ may raise
        text = ""
    place = "" if line is None else f" (line {line})"
    return f"{type(error).__name__}: {text[:500]}{place}" if text else f"{type(error).__name__}{place}"


def _shut_in(mode: str, seconds: float, memory: int) -> None:
    """Give up what a grader does not need: all of it where it is ``isolated``, what can be where it is ``limited``.

    Raises:
        OSError: it cannot be isolated here.
    """
    if mode == "isolated":
        if sys.platform != "linux" or platform.machine() not in _MACHINES:
            raise OSError(f"there are no means for it on {sys.platform} {platform.machine()}")
        _enter_namespaces()
    _limit(seconds, memory)
    if sys.platform == "linux" and platform.machine() in _MACHINES:
        libc = ctypes.CDLL(None, use_errno=True)
        _drop_capabilities(libc)
        _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _filter_calls(libc)


def _limit(seconds: float, memory: int) -> None:
    limits = {
        resource.RLIMIT_CPU: math.ceil(seconds) + 1,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: _FILE_BYTES,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in limits.items():
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):  # macOS has no limit on address space
            if sys.platform == "linux":
                raise


def _enter_namespaces() -> None:
    """Leave network, processes and files behind; go on as process 1 of a system that holds Python and nothing else."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group, root = os.getuid(), os.getgid(), Path.cwd()
    _call(libc.unshare, _NEW_NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"65534 {user} 1")
    Path("/proc/self/gid_map").write_text(f"65534 {group} 1")
    _mount(libc, None, Path("/"), _MS_REC | _MS_PRIVATE)
    _mount(libc, "tmpfs", root, _MS_NOSUID | _MS_NODEV, _DISK)
    for path in _needed():
        _show(libc, path, root)
    (root / "tmp").mkdir(exist_ok=True)
    os.chroot(root)
    os.chdir("/tmp")  # noqa: S108 - of this root, and empty
    if child := os.fork():
        os._exit(_watch(child))
    _call(libc.prctl, _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(child: int) -> int:
    """Wait for process 1 of the namespace, and end it in time; with it ends everything in there."""
    late = False

    def end(*_: object) -> None:
        nonlocal late
        late = True
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, end)  # a timer is not inherited: it is this process that hears it
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return _LATE if late else status if status >= 0 else 128 - status


def _needed() -> list[Path]:
    """List what Python needs to import: its own directories, and the system's libraries."""
    found = {Path(each) for each in ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")}
    for path in {Path(each).resolve() for each in (sys.prefix, sys.base_prefix, sys.exec_prefix)}:
        found |= {path / "lib", path / "lib64"}
    listed = sorted(path for path in found if path.exists())
    return [path for path in listed if not any(other in path.parents for other in listed if not other.is_symlink())]


def _show(libc: ctypes.CDLL, path: Path, root: Path) -> None:
    """Make a directory visible below the new root, to be read only."""
    place = root / path.relative_to("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        place.symlink_to(path.readlink())
        return
    place.mkdir(exist_ok=True)
    flags = os.statvfs(path).f_flag
    kept = sum(mount for stat, mount in _KEPT.items() if flags & stat)
    _mount(libc, str(path), place, _MS_BIND | _MS_REC)
    _mount(libc, None, place, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | kept)


def _mount(libc: ctypes.CDLL, source: str | None, place: Path, flags: int, options: str = "") -> None:
    kind = b"tmpfs" if source == "tmpfs" else None
    _call(libc.mount, source and source.encode(), bytes(place), kind, ctypes.c_ulong(flags), options.encode())


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint * 6)()
    _call(libc.capset, header, none)


def _filter_calls(libc: ctypes.CDLL) -> None:
    """Refuse to make processes, sockets and whatever else reaches out of here. Threads stay possible."""
    column, machine, clone = _MACHINES[platform.machine()]
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    if column == 0:
        steps += [(_ABOVE, 0, 1, 0x40000000), (_RETURN, 0, 0, _REFUSE)]  # the calls of another ABI
    for number in (pair[column] for pair in _FORBIDDEN):
        if number is not None:
            steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _MISSING)]  # so that the C library uses clone, as below
    steps += [(_EQUAL, 0, 3, clone), (_LOAD, 0, 0, 16), (_BITS, 1, 0, _THREAD), (_RETURN, 0, 0, _REFUSE)]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    program = _Program(len(steps), (_Step * len(steps))(*(_Step(*step) for step in steps)))
    _call(libc.prctl, _PR_SET_SECCOMP, 2, ctypes.byref(program), 0, 0)


def _call(function: Any, *arguments: Any) -> None:  # noqa: ANN401 - a function of C
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function.__name__}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
