"""What ``init`` writes, and what it leaves alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jsonschema
import pytest

from reconciler.errors import UsageError
from reconciler.spec.documents import read
from reconciler.spec.init import FILES, init
from reconciler.spec.load import load
from reconciler.spec.schema import config_schema, json_schema


def test_what_it_writes_is_valid_without_a_warning(tmp_path: Path) -> None:
    root = tmp_path / "new/models"
    assert init(root) == [root / name for name in FILES]
    repository = load(["specs"], cwd=root)
    assert [(d.name, d.files[0].rows >= 10) for d in repository.desired] == [("first", True)]
    assert (repository.warnings, repository.root, repository.config.owner) == ((), root, "models")


@pytest.mark.parametrize(("name", "make"), [("specs/first.yaml", json_schema), ("reconciler.yaml", config_schema)])
def test_editors_find_a_schema_that_accepts_it_beside_it(name: str, make: object, tmp_path: Path) -> None:
    assert callable(make)
    init(tmp_path)
    path = tmp_path / name
    first_line = path.read_text().splitlines()[0]
    schema = path.parent / first_line.removeprefix("# yaml-language-server: $schema=")
    assert schema.resolve().is_file()
    [document] = read(name, path.read_bytes())
    jsonschema.validate(document.value(), make())


def test_the_owner_is_the_git_remote_where_there_is_one(tmp_path: Path) -> None:
    for command in (["init", "-q"], ["remote", "add", "origin", "git@github.com:acme/models.git"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)
    init(tmp_path)
    assert load(["specs"], cwd=tmp_path).config.owner is None


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_text("owner: me\n")
    (tmp_path / ".gitignore").symlink_to(tmp_path / "elsewhere")
    written = init(tmp_path)
    assert len(written) == len(FILES) - 2
    assert (tmp_path / "reconciler.yaml").read_text() == "owner: me\n"
    assert not (tmp_path / "elsewhere").exists()
    assert init(tmp_path) == []


def test_a_repository_with_specs_gets_no_tutorial(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    assert not [path for path in init(tmp_path) if "specs" in path.relative_to(tmp_path).parts]
    assert list((tmp_path / "specs").iterdir()) == []


def test_a_file_in_the_way_is_a_wrong_command(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(UsageError, match=r"Cannot write .*first\.yaml: Not a directory"):
            init(directory)
