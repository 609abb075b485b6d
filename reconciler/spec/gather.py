"""Files become drafts: valid specs, each by itself, whose references are not followed yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.errors import Problem, SpecError
from reconciler.spec import documents
from reconciler.spec.documents import Document
from reconciler.spec.faults import faults
from reconciler.spec.matrix import MatrixError, Variant, expand
from reconciler.spec.model import FLAT, Spec, canonical
from reconciler.spec.overlay import Origin, Overrides, merge
from reconciler.spec.tree import SpecFile, spec_files


@dataclass(frozen=True)
class Draft:
    """A valid spec, and the file it stands in."""

    spec: Spec
    origin: Origin
    file: SpecFile


class Gatherer:
    """Reads specs and collects problems over all files, so that a person sees them at once.

    ``names`` holds every name that is spoken for, those of invalid specs too; ``matrices`` maps the name of a spec
    with a matrix to the names that came of it; ``empty`` says that no document was found. ``opened`` reads a file in
    place of :func:`documents.read_bytes`.
    """

    def __init__(
        self, root: Path, overrides: Overrides | None, opened: Callable[[str, str], bytes] = documents.read_bytes
    ) -> None:
        self._root = root
        self._overrides = overrides
        self._read_bytes = opened
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
        try:
            found = documents.read(file.shown_as, data)
        except SpecError as error:
            self.problems += error.problems
            self.empty = False
            return
        for document in found:
            self.empty = False
            try:
                self._take(document, file)
            except SpecError as error:
                self.problems += error.problems

    def _take(self, document: Document, file: SpecFile) -> None:
        raw = document.value()
        if not isinstance(raw, Mapping):
            raise SpecError([document.problem((), "a spec is a mapping of fields: name, model, training_file, ...")])
        merged: Mapping[str, Any] = merge(raw, self._overrides.values) if self._overrides else raw
        try:
            variants = expand(merged)
        except MatrixError as error:
            origin = Origin(document, self._overrides)
            self._claim(merged.get("name"), origin)
            raise SpecError([origin.problem(error.path, error.message, on_key=error.on_key)]) from error
        if variants[0].choices:
            self.matrices[merged["name"]] = [variant.raw["name"] for variant in variants]
        for variant in variants:
            self._take_variant(variant, Origin(document, self._overrides, variant.choices), file)

    def _take_variant(self, variant: Variant, origin: Origin, file: SpecFile) -> None:
        if not self._claim(variant.raw.get("name"), origin):
            return
        form = canonical(variant.raw)
        self.problems += [origin.problem(where, message) for where, message in form.faults]
        try:
            spec = Spec.model_validate(form.body)
        except ValidationError as error:
            self.problems += [
                origin.problem(form.as_written(fault.path), fault.message, on_key=fault.on_key)
                for fault in faults(error, form.body, Spec, FLAT)
            ]
        else:
            self.drafts[spec.name] = Draft(spec, origin, file)

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
