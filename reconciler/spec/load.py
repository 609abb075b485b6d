"""Paths become the desired state: gather the specs, follow their references, look at their data."""

from __future__ import annotations

import ntpath
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import BinaryIO

from reconciler.cache import Cache
from reconciler.data.files import DataFiles, Inspector
from reconciler.errors import DataError, Problem, SpecError, UsageError
from reconciler.spec import documents
from reconciler.spec.chains import explain, ordered
from reconciler.spec.config import Config, find_root, load_config
from reconciler.spec.desired import Adopt, DataFile, Desired, Source, Upstream
from reconciler.spec.gather import Draft, Gatherer, Said
from reconciler.spec.memo import Memo
from reconciler.spec.model import FILE_ID, Chain
from reconciler.spec.overlay import Overrides
from reconciler.spec.revision import chained, revision
from reconciler.spec.tree import CONFIG, SpecFile, shown_path

STDIN = "-"
STDIN_NAME = "<stdin>"


@dataclass(frozen=True)
class Repository:
    """What a repository wants.

    ``config`` is as it is in ``environment``; ``desired`` is in order of name; ``warnings`` do not stop anything, and
    their files are relative to ``root``; ``empty`` says that no spec was found at all, which is no reason to think that
    all jobs are unwanted.
    """

    root: Path
    config: Config
    desired: tuple[Desired, ...]
    environment: str | None
    warnings: tuple[Problem, ...]
    paths: tuple[str, ...]
    empty: bool


def load(  # noqa: PLR0913 - each is something that a test or a command has another of
    paths: Sequence[str],
    *,
    environment: str | None = None,
    cwd: Path | None = None,
    stdin: BinaryIO | None = None,
    cache: Cache | None = None,
    files: bool = True,
    unwritten: Mapping[SpecFile, bytes] | None = None,
    data: Inspector | None = None,
    settings: bytes | None = None,
) -> Repository:
    """Load the specs of files, directories, or ``-`` for ``stdin``.

    With ``files=False`` no training file is looked at: digests and revisions are then empty, and the result is good
    for names only. ``unwritten`` holds the content of files that are to be written, and are read like the others.
    ``data`` knows the training files, instead of the disk; ``settings`` count instead of ``reconciler.yaml``.

    Raises:
        SpecError: with every problem of all files, or those of ``reconciler.yaml``.
        UsageError: a path or the environment does not exist, or the paths are in different repositories.
    """
    found = gather(paths, environment=environment, cwd=cwd, stdin=stdin, settings=settings)
    for file, content in (unwritten or {}).items():
        found.specs.read(file, content)
    return resolve(found, (data or DataFiles(found.root, cache)) if files else None)


@dataclass(frozen=True)
class Memory:
    """What came of the files the last time, for who loads them again and again: what each said, and what that means."""

    said: Memo[Said] = field(default_factory=Memo)
    desired: Memo[Desired] = field(default_factory=Memo)


@dataclass(frozen=True)
class Gathered:
    """What the files of a repository say, before references are followed: ``config`` is as it is in the environment."""

    root: Path
    config: Config
    specs: Gatherer
    environment: str | None
    paths: tuple[str, ...]


def gather(
    paths: Sequence[str],
    *,
    environment: str | None = None,
    cwd: Path | None = None,
    stdin: BinaryIO | None = None,
    settings: bytes | None = None,
    opened: Callable[[str, str], bytes] = documents.read_bytes,
    memory: Memory | None = None,
) -> Gathered:
    """Read the settings and the specs as ``load`` does; ``specs.problems`` holds what is wrong with specs.

    ``opened`` reads a file of specs, by its path and the name to show, as :func:`documents.read_bytes` does;
    ``memory`` spares what would come out as it did the last time.

    Raises:
        SpecError: with every problem of ``reconciler.yaml``.
        UsageError: as ``load`` does.
    """
    cwd = (cwd or Path.cwd()).absolute()
    root = _root(paths, cwd)
    file = str(root / CONFIG)
    base, document = load_config(root, shown_path(file, file, cwd), settings)
    config = base.within(environment)
    overrides = None
    if environment is not None and document is not None:
        overrides = Overrides(
            document, ("environments", environment, "overrides"), base.environments[environment].overrides
        )
    gatherer = Gatherer(root, overrides, opened, memory.said if memory else None)
    for given in dict.fromkeys(paths):
        if given == STDIN:
            data = stdin.read(documents.MAX_BYTES + 1) if stdin else b""
            gatherer.read(SpecFile(str(cwd / STDIN_NAME), STDIN_NAME), data)
        else:
            gatherer.find(given, cwd)
    return Gathered(root, config, gatherer, environment, tuple(paths))


def resolve(found: Gathered, data: Inspector | None, memory: Memory | None = None) -> Repository:
    """Follow what gathered specs refer to; without ``data`` no training file is looked at. ``memory`` is as before.

    Raises:
        SpecError: with every problem, those found before among them.
    """
    resolver = _Resolver(found, data, memory.desired if memory else None)
    desired = resolver.resolve()
    warnings = tuple(dict.fromkeys(resolver.warnings))
    return Repository(
        found.root, found.config, desired, found.environment, warnings, found.paths, empty=found.specs.empty
    )


def _root(paths: Sequence[str], cwd: Path) -> Path:
    found = {find_root(cwd if given == STDIN else cwd / given, cwd) for given in paths} or {find_root(cwd, cwd)}
    if len(found) > 1:
        raise UsageError(
            f"These paths are in different repositories: {', '.join(map(str, sorted(found)))}.",
            hint="Give paths of one repository at a time.",
        )
    return found.pop()


def _require_relative(given: str) -> None:
    if "://" in given:
        raise DataError("is a URL; download it into the repository")
    if given.startswith(("/", "~")) or ntpath.splitdrive(given)[0]:
        raise DataError("is an absolute path; give one relative to this file")


class _Resolver:
    """Follows what specs refer to: each other, training files, policy."""

    def __init__(self, found: Gathered, data: Inspector | None, memo: Memo[Desired] | None) -> None:
        self._root = found.root
        self._allowed = found.config.policy.allowed_models
        self._gathered = found.specs
        self._memo = memo
        self._data = data
        self._problems: list[Problem] = found.specs.problems
        self.warnings: list[Problem] = []

    def resolve(self) -> tuple[Desired, ...]:
        """Return the desired jobs in order of name.

        Raises:
            SpecError: for whatever was found, here and before.
        """
        drafts = self._gathered.drafts
        files = {name: self._files(draft) for name, draft in drafts.items()}
        order = self._order(drafts)
        if self._data:
            self._data.save()
        if self._problems:
            raise SpecError(self._problems)
        revisions: dict[str, str] = {}
        desired = {}
        if self._memo is not None:
            self._memo.begin()
        for name in order:
            desired[name] = self._remembered(drafts[name], *files[name], revisions)
            revisions[name] = desired[name].revision
        return tuple(desired[name] for name in sorted(desired))

    def _order(self, drafts: Mapping[str, Draft]) -> list[str]:
        """Check every model, and put specs after those they start from."""
        upstream: dict[str, str | None] = {}
        for name, draft in drafts.items():
            model = draft.spec.model
            upstream[name] = model.job if isinstance(model, Chain) else None
            if isinstance(model, Chain):
                if why := explain(model.job, self._gathered.names, self._gathered.matrices):
                    self._problems.append(draft.origin.problem(("model", "job"), why))
            elif self._allowed and not any(fnmatchcase(model, pattern) for pattern in self._allowed):
                message = f"'{model}' is not allowed here; policy.allowed_models has {', '.join(self._allowed)}"
                self._problems.append(draft.origin.problem(("model",), message))
        order, cycles = ordered(upstream)
        for cycle in cycles:
            message = f"no job can come first: {' -> '.join(cycle)}"
            self._problems.append(drafts[cycle[0]].origin.problem(("model", "job"), message))
        return order

    def _files(self, draft: Draft) -> tuple[DataFile | str, DataFile | str | None]:
        spec = draft.spec
        training = self._file(draft, "training_file", spec.training_file, 10)
        if spec.validation_file is None:
            return training, None
        return training, self._file(draft, "validation_file", spec.validation_file, 1)

    def _file(self, draft: Draft, key: str, given: str, minimum: int) -> DataFile | str:
        if FILE_ID.fullmatch(given):
            return given
        path = os.path.normpath(f"{os.path.split(draft.file.path)[0]}/{given}")
        relative = self._relative(path)
        unknown = DataFile(relative, "", 0, 0)
        if self._data is None:
            return unknown
        try:
            _require_relative(given)
            facts = self._data.inspect(path, draft.spec.method.type, minimum=minimum)
        except DataError as error:
            self._problems.append(draft.origin.problem((key,), f"{given} {error.message}"))
            return unknown
        if facts.odd:
            self.warnings.append(Problem(relative, facts.odd_line, 0, facts.odd))
        return DataFile(relative, facts.digest, facts.size, facts.rows)

    def _relative(self, path: str) -> str:
        prefix = f"{self._root}{os.sep}"
        relative = path[len(prefix) :] if path.startswith(prefix) else os.path.relpath(path, self._root)
        return relative.replace(os.sep, "/")

    def _remembered(
        self,
        draft: Draft,
        training: DataFile | str,
        validation: DataFile | str | None,
        revisions: Mapping[str, str],
    ) -> Desired:
        model = draft.spec.model
        upstream = revisions[model.job] if isinstance(model, Chain) else ""
        if self._memo is None:
            return self._desired(draft, training, validation, upstream)
        made_of = (draft, training, validation, upstream, self._root, self._data is None)
        make = partial(self._desired, draft, training, validation, upstream)
        return self._memo.get(draft.spec.name, made_of, make)

    def _desired(
        self, draft: Draft, training: DataFile | str, validation: DataFile | str | None, upstream: str
    ) -> Desired:
        spec, document = draft.spec, draft.origin.document
        method = spec.canonical_method()
        chain = spec.model if isinstance(spec.model, Chain) else None
        digest = ""
        if self._data is not None:
            digest = revision(
                chained(upstream, chain.checkpoint) if chain else str(spec.model),
                training,
                method,
                validation_file=validation,
                suffix=spec.suffix,
                seed=spec.seed,
                rerun=spec.rerun,
            )
        return Desired(
            name=spec.name,
            revision=digest,
            model=Upstream(chain.job, chain.checkpoint) if chain else str(spec.model),
            training_file=training,
            validation_file=validation,
            method=method,
            suffix=spec.suffix,
            seed=spec.seed,
            integrations=tuple(i.model_dump(exclude_none=True) for i in spec.integrations),
            metadata=spec.metadata,
            state=spec.state,
            replace=spec.replace,
            retry_limit=spec.retry.limit,
            protect=spec.protect,
            priority=spec.priority,
            rerun=spec.rerun,
            adopt=Adopt(spec.adopt.job, spec.adopt.revision) if spec.adopt else None,
            permissions=tuple(spec.permissions),
            source=Source(
                STDIN_NAME if document.file == STDIN_NAME else self._relative(draft.file.path), document.starts
            ),
        )
