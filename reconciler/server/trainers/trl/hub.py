"""The Hugging Face hub as a place to export to: one commit in a repository, whole or not at all.

The whole model lies at the repository's root, so that ``from_pretrained("OWNER/NAME")`` finds it.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reconciler import __version__
from reconciler.errors import MissingExtra, MissingKey, NotFound, ReconcilerError, StoreError, UsageError
from reconciler.server.trainers.trl.card import MARK, Provenance
from reconciler.server.trainers.trl.export import Doing, Wish, write
from reconciler.server.trainers.trl.hub_faults import translated
from reconciler.server.trainers.trl.merge import MERGED

SCHEME = "hf://"
MAIN = "main"
_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<branch>[\w./-]+))?")
_REPLACED = re.compile(r"[^/]*\.(safetensors(\.index\.json)?|gguf)|Modelfile|adapter/.*")
"""What a new model replaces: where it does not write such a file itself, the old one would be taken for its own."""
_NOTHING = {".gitattributes"}


@dataclass(frozen=True, slots=True)
class Address:
    """A branch of a repository of the hub."""

    repository: str
    branch: str = MAIN

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """Read ``hf://OWNER/NAME[@BRANCH]``; None is no such address.

        Raises:
            UsageError: it begins like one.
        """
        if not text.startswith(SCHEME):
            return None
        found = _ADDRESS.fullmatch(text)
        if found is None:
            raise UsageError(f"{text[:100]!a} is no repository of the hub.", hint="Write hf://OWNER/NAME[@BRANCH].")
        return cls(found["repository"], found["branch"] or MAIN)

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}" + (f"@{self.branch}" if self.branch != MAIN else "")


@dataclass(frozen=True, slots=True)
class Leave:
    """What a user has agreed to: that everybody may see the model, and that another one is replaced."""

    public: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """What a branch holds now. ``mark`` is what its card says of an earlier export."""

    commit: str
    private: bool
    files: Sequence[str]
    mark: Mapping[str, Any] | None


def token() -> str:
    """Return the token that the hub's own tools use.

    Raises:
        MissingExtra: the hub's client is not installed.
        UsageError: there is no token, or the hub may not be asked.
    """
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingExtra("What writes to the hub", "train")
    from huggingface_hub import constants, get_token  # noqa: PLC0415 - of the extra

    if constants.HF_HUB_OFFLINE:
        raise UsageError(
            "HF_HUB_OFFLINE keeps the hub from being asked.", hint="Unset it, or export into a directory: --to DIR."
        )
    with translated("the hub"):
        found: str | None = get_token()
    if not found:
        raise MissingKey(
            "There is no token for the hub.", hint="Set HF_TOKEN to one that may write, or log in: hf auth login"
        )
    return found


class Hub:
    """One branch of one repository, as a token may see it. ``bars`` shows on stderr how an upload goes on."""

    def __init__(self, address: Address, token: str, *, bars: bool) -> None:
        from huggingface_hub import HfApi  # noqa: PLC0415 - of the extra
        from huggingface_hub.utils import disable_progress_bars, logging, validate_repo_id  # noqa: PLC0415

        try:
            validate_repo_id(address.repository)
        except ValueError as error:
            raise UsageError(f"The hub takes no such name: {error}", hint="Write hf://OWNER/NAME[@BRANCH].") from error
        logging.set_verbosity_error()
        with warnings.catch_warnings(action="ignore"):  # the environment has the last word on bars
            disable_progress_bars()
        self._bars = bars
        self._address = address
        self._api = HfApi(token=token, library_name="reconciler", library_version=__version__)

    def check(self, what: Provenance, leave: Leave) -> _Found | None:
        """Return what is there already, None where nothing is.

        Raises:
            UsageError: it is not what a model of this spec replaces, or others could see what they should not.
            ApiError: the hub does not let it be seen, or be written to.
        """
        found = self._look()
        if found is None:
            return None
        name = self._address
        if not found.private and not leave.public:
            raise UsageError(f"{name} is public: everybody would see the model.", hint="Agree to it with --public.")
        if found.private and leave.public:
            raise UsageError(
                f"{name} is private.", hint="Make it public on the hub, or leave --public out: it is for a new one."
            )
        files = [file for file in found.files if file not in _NOTHING]
        if files and not leave.overwrite and (holds := _other(found.mark, what)):
            raise UsageError(
                f"{name} holds {holds} ({', '.join(files[:3])}{', ...' if len(files) > 3 else ''}).",
                hint="Name another repository, or replace its weights with --overwrite: its history keeps them.",
            )
        return found

    def _look(self) -> _Found | None:
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError  # noqa: PLC0415

        repository, branch = self._address.repository, self._address.branch
        with translated(repository):
            try:
                info = self._api.repo_info(repository, revision=branch)
                self._api.auth_check(repository, write=True)
                files = [each.rfilename for each in info.siblings or ()]
                mark = self._mark(info.sha) if "README.md" in files else None
            except RevisionNotFoundError as error:
                raise NotFound(
                    f"{repository} has no branch {branch}.", hint="Make it on the hub, or name another.", status=404
                ) from error
            except RepositoryNotFoundError as error:
                if error.response.status_code == 401:
                    raise
                if branch != MAIN:
                    raise NotFound(
                        f"There is no {repository} yet, so it has no branch {branch}.",
                        hint=f"Leave @{branch} out, or make the repository first.",
                        status=404,
                    ) from error
                return None
        return _Found(info.sha, bool(info.private), files, mark)

    def _mark(self, commit: str) -> Mapping[str, Any] | None:
        from huggingface_hub.repocard import metadata_load  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as place:
            file = self._api.hf_hub_download(self._address.repository, "README.md", revision=commit, local_dir=place)
            try:
                mark = (metadata_load(file) or {}).get(MARK)
            except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no card of ours
                return None
        return mark if isinstance(mark, dict) else None

    def send(self, directory: Path, found: _Found | None, what: Provenance, leave: Leave) -> str:
        """Make one commit of a directory, and the repository where there was none; return the commit's address.

        Raises:
            ApiError: the hub does not take it. What was there is as it was.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415
        from huggingface_hub.utils import enable_progress_bars  # noqa: PLC0415

        files = {_path(file.relative_to(directory)): file for file in directory.rglob("*") if file.is_file()}
        old = {file for file in (found.files if found else ()) if _REPLACED.fullmatch(file)}
        operations = [CommitOperationDelete(path) for path in sorted(old - files.keys())]
        operations += [CommitOperationAdd(path, str(file)) for path, file in sorted(files.items())]
        repository = self._address.repository
        revision = [f"revision {what.revision}"] if what.revision else []
        if found is None:
            with translated(repository, writing=True):
                self._api.create_repo(repository, private=not leave.public)
        with translated(repository, writing=True, made=found is None), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the card's head: what is wrong with it is an error
            if self._bars:
                enable_progress_bars()
            done = self._api.create_commit(
                repository,
                operations,
                commit_message=", ".join([f"{what.spec or what.made.name}: job {what.job.id}", *revision]),
                commit_description=f"{what.made.name}, step {what.made.step}",
                revision=self._address.branch,
                parent_commit=found.commit if found else None,
            )
        return str(done.commit_url)


def _path(file: Path) -> str:
    return file.as_posix().removeprefix(f"{MERGED}/")


def _other(mark: Mapping[str, Any] | None, what: Provenance) -> str:
    """Say what a repository holds, unless it is an earlier model of the same spec."""
    if mark is None:
        return "files that reconciler did not put there"
    keys = ("owner", "spec") if what.spec else ("job",)
    if any(mark.get(key) != what.mark[key] for key in keys):
        return f"the model of {mark.get('spec') or mark.get('job')!a}, not of this {'spec' if what.spec else 'job'}"
    return ""


def publish(directory: Path, what: Provenance, hub: Hub, leave: Leave, wish: Wish, doing: Doing) -> str:
    """Export a model into a branch of the hub; return the address of the commit.

    What can be refused is refused before the weights are merged.

    Raises:
        UsageError, ApiError: the hub is not to be written to, or does not take it.
        StoreError: the weights could not be written.
        ReconcilerError: they could not be converted.
    """
    doing("Asking the hub")
    found = hub.check(what, leave)
    try:
        with room(directory / "export") as place:
            write(directory, what, place, wish, doing, whole="The root")
            doing("")
            return hub.send(place, found, what, leave)
    except OSError as error:
        raise StoreError(f"{directory} does not take the weights: {error.strerror or error}.") from error


@contextmanager
def room(place: Path) -> Iterator[Path]:
    """Make room for one export at a time; what one that was killed has left goes."""
    lock = FileLock(place.with_name(f"{place.name}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ReconcilerError(
            f"Another export to a hub is under way in {place.parent}.", hint="Export again once it has ended."
        ) from None
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        lock.release()
