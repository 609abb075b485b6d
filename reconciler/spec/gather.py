"""Files become drafts: valid specs, each by itself, whose references are not followed yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from reconciler.errors import Problem, SpecError
from reconciler.spec import documents
from reconciler.spec.documents import Document
from reconciler.spec.faults import faults
from reconciler.spec.matrix import MatrixError, Variant, expand
from reconciler.spec.memo import Memo
from reconciler.spec.model import FLAT, Spec, canonical
from reconciler.spec.overlay import Origin, Overrides, merge
from reconciler.spec.tree import SpecFile, spec_files


@dataclass(frozen=True)
class Draft:
    """A valid spec, and the file it stands in."""

    spec: Spec
    origin: Origin
    file: SpecFile


class Claim(NamedTuple):
    """A spec asks for its name. It has a ``draft``, or the ``problems`` that leave it without one."""

    name: object
    origin: Origin
    draft: Draft | None = None
    problems: Sequence[Problem] = ()


class Said:
    """What one file says by itself, whatever the others say.

    ``problems`` are those of no claim; ``matrices`` maps the name of a spec with a matrix to the names that came of it;
    ``empty`` says that there is no document in it.
    """

    __slots__ = ("claims", "empty", "matrices", "problems")

    def __init__(self, file: SpecFile, data: bytes, overrides: Overrides | None) -> None:
        self.claims: list[Claim] = []
        self.matrices: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        try:
            found = documents.read(file.shown_as, data)
        except SpecError as error:
            self.problems += error.problems
            self.empty = False
            return
        self.empty = not found
        for document in found:
            try:
                self._take(document, file, overrides)
            except SpecError as error:
                self.problems += error.problems

    def _take(self, document: Document, file: SpecFile, overrides: Overrides | None) -> None:
        raw = document.value()
        if not isinstance(raw, Mapping):
            raise SpecError([document.problem((), "a spec is a mapping of fields: name, model, training_file, ...")])
        merged: Mapping[str, Any] = merge(raw, overrides.values) if overrides else raw
        try:
            variants = expand(merged)
        except MatrixError as error:
            origin = Origin(document, overrides)
            self.claims.append(Claim(merged.get("name"), origin))
            raise SpecError([origin.problem(error.path, error.message, on_key=error.on_key)]) from error
        if variants[0].choices:
            self.matrices[merged["name"]] = [variant.raw["name"] for variant in variants]
        for variant in variants:
            self.claims.append(_claim(variant, Origin(document, overrides, variant.choices), file))


def _claim(variant: Variant, origin: Origin, file: SpecFile) -> Claim:
    form = canonical(variant.raw)
    problems = [origin.problem(where, message) for where, message in form.faults]
    draft = None
    try:
        draft = Draft(Spec.model_validate(form.body), origin, file)
    except ValidationError as error:
        problems += [
            origin.problem(form.as_written(fault.path), fault.message, on_key=fault.on_key)
            for fault in faults(error, form.body, Spec, FLAT)
        ]
    return Claim(variant.raw.get("name"), origin, draft, problems)


class Gatherer:
    """Reads specs and collects problems over all files, so that a person sees them at once.

    ``names`` holds every name that is spoken for, those of invalid specs too; ``matrices`` and ``empty`` are as in
    :class:`Said`, of all files. ``opened`` reads a file in place of :func:`documents.read_bytes`; ``memo`` has what
    files said the last time.
    """

    def __init__(
        self,
        root: Path,
        overrides: Overrides | None,
        opened: Callable[[str, str], bytes] = documents.read_bytes,
        memo: Memo[Said] | None = None,
    ) -> None:
        self._root = root
        self._overrides = overrides
        self._read_bytes = opened
        self._memo = memo
        if memo is not None:
            memo.begin()
        self._seen: set[str] = set()
        self.drafts: dict[str, Draft] = {}
        self.names: dict[str, Origin] = {}
        self.matrices: dict[str, list[str]] = {}
        self.problems: list[Problem] = []
        self.empty = True

    def find(self, given: str, cwd: Path) -> None:
        """Read every spec file of one path that the user gave.

        Raises:
            UsageError: nothing is there.
        """
        found, problems = spec_files(given, self._root, cwd)
        self.problems += problems
        for file in found:
            if file.path not in self._seen:
                self._seen.add(file.path)
                self._open(file)

    def _open(self, file: SpecFile) -> None:
        try:
            data = self._read_bytes(file.path, file.shown_as)
        except FileNotFoundError:
            self.problems.append(Problem(file.shown_as, 0, 0, "cannot be read: the symlink leads nowhere"))
        except SpecError as error:
            self.problems += error.problems
        else:
            self.read(file, data)

    def read(self, file: SpecFile, data: bytes) -> None:
        """Read the specs of one file's bytes."""
        made_of = (file, data, self._overrides)
        said = Said(*made_of) if self._memo is None else self._memo.get(file.path, made_of, lambda: Said(*made_of))
        self.empty = self.empty and said.empty
        self.problems += said.problems
        self.matrices |= said.matrices
        for claim in said.claims:
            if self._claim(claim.name, claim.origin):
                self.problems += claim.problems
                if claim.draft is not None:
                    self.drafts[claim.draft.spec.name] = claim.draft

    def _claim(self, name: object, origin: Origin) -> bool:
        """Give a name to the first who asks."""
        if not isinstance(name, str):
            return True
        first = self.names.setdefault(name, origin)
        if first is not origin:
            where = first.problem(("name",), "")
            message = f"'{name}' is already the name of the spec at {where.file}:{where.line}:{where.column}"
            self.problems.append(origin.problem(("name",), message))
        return first is origin
