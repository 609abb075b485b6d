"""Loading: which files count, where the root is, and what happens around the specs."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import pytest
from spec_support import ROW, Write, desired, refused, spec

from reconciler.errors import Problem, SpecError, UsageError
from reconciler.spec.config import find_root
from reconciler.spec.load import load


def test_a_tree_is_read_but_for_what_is_hidden_data_settings_or_ignored(write: Write) -> None:
    root = write(
        {
            ".reconcilerignore": "# ours\n/old/\n*.draft.yaml\n!keep.draft.yaml\n",
            "one.yaml": spec("one"),
            "two.yml": spec("two"),
            "deep/er/three.yaml": spec("three", data="../../data/train.jsonl"),
            "keep.draft.yaml": spec("four"),
            "notes.txt": "not: [yaml",
            ".hidden.yaml": "not: [yaml",
            ".hidden/a.yaml": "not: [yaml",
            "deep/data/a.yaml": "not: [yaml",
            "deep/reconciler.yaml": "not: [yaml",
            "old/a.yaml": "not: [yaml",
            "some.draft.yaml": "not: [yaml",
        }
    )
    assert sorted(desired(root)) == ["four", "one", "three", "two"]


def test_a_path_that_is_given_itself_is_read_whatever_its_name(write: Write) -> None:
    root = write({".reconcilerignore": "*.yaml\n", ".a.yaml": spec("a"), "data/b.txt": spec("b", data="train.jsonl")})
    assert sorted(desired(root, ".a.yaml", "data/b.txt")) == ["a", "b"]


def test_settings_are_no_spec_even_where_a_shell_names_them(write: Write) -> None:
    root = write({"a.yaml": spec()})
    assert list(desired(root, "a.yaml", "reconciler.yaml")) == ["a"]


def test_a_file_that_two_paths_name_is_read_once(write: Write) -> None:
    root = write({"specs/a.yaml": spec("a", data="../data/train.jsonl")})
    assert list(desired(root, "specs", "specs/a.yaml", "specs/../specs", "specs")) == ["a"]


def test_several_documents_of_one_file_are_several_jobs(write: Write) -> None:
    repository = load(["."], cwd=write({"a.yaml": f"# none\n---\n{spec('b')}---\n{spec('a')}...\n"}))
    assert [(d.name, str(d.source)) for d in repository.desired] == [("a", "a.yaml:7:1"), ("b", "a.yaml:3:1")]
    assert not repository.empty


@pytest.mark.parametrize("text", ["", "# only words\n", "---\n...\n---\n"])
def test_a_repository_without_any_spec_is_empty_and_says_so(text: str, write: Write) -> None:
    repository = load(["."], cwd=write({"a.yaml": text}))
    assert (repository.empty, repository.desired) == (True, ())


def test_standard_input_is_read_as_if_it_stood_in_the_working_directory(write: Write) -> None:
    root = write({"sub/data/other.jsonl": ROW * 12})
    repository = load(["-"], cwd=root / "sub", stdin=io.BytesIO(spec(data="data/other.jsonl").encode()))
    [job] = repository.desired
    assert (job.files[0].path, job.files[0].rows, str(job.source)) == ("sub/data/other.jsonl", 12, "<stdin>:1:1")


def test_a_fault_on_standard_input_has_its_place(write: Write) -> None:
    with pytest.raises(SpecError, match=r"^<stdin>:4:1: modell: unknown key; did you mean 'model'\?$"):
        load(["-"], cwd=write({}), stdin=io.BytesIO(spec("a", "modell: x").encode()))


def test_problems_of_all_files_are_told_at_once_in_order(write: Write) -> None:
    root = write({"b.yaml": spec("b", "seed: -1"), "a.yaml": f"{spec('A')}---\n[x", "c.yaml": spec("c")})
    assert [line.rpartition(": ")[0] for line in refused(root)] == [
        "a.yaml:1:7: name",
        "a.yaml:5:1: not valid YAML",
        "b.yaml:4:7: seed",
    ]


def test_a_name_may_be_used_once_and_both_places_are_named(write: Write) -> None:
    root = write({"a.yaml": spec("x"), "b/b.yaml": f"# also\n{spec('x', data='../data/train.jsonl')}"})
    assert refused(root) == ["b/b.yaml:2:7: name: 'x' is already the name of the spec at a.yaml:1:7"]


def test_places_are_told_relative_to_the_working_directory_else_as_given(write: Write) -> None:
    root = write({"specs/a.yaml": spec("a", "seed: -1", data="../data/train.jsonl")})
    inside, outside = root / "specs", root / "data"
    with pytest.raises(SpecError, match=r"^a\.yaml:4:7"):
        load(["../specs/a.yaml"], cwd=inside)
    with pytest.raises(SpecError, match=r"^\.\./specs/a\.yaml:4:7"):
        load(["../specs"], cwd=outside)


@pytest.mark.parametrize("given", ["specs", "nope.yaml"])
def test_a_path_that_does_not_exist_is_a_wrong_command(given: str, write: Write) -> None:
    with pytest.raises(UsageError, match=given) as caught:
        load([given], cwd=write({}))
    assert ("reconciler init" in caught.value.hint) is (given == "specs")


def test_paths_of_two_repositories_are_a_wrong_command(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "reconciler.yaml").touch()
    with pytest.raises(UsageError, match="different repositories"):
        load(["a", "b"], cwd=tmp_path)


def test_without_files_no_training_data_is_looked_at(write: Write) -> None:
    root = write({"a.yaml": spec("a", data="data/none.jsonl")})
    [job] = load(["."], cwd=root, files=False).desired
    assert (job.name, job.revision, job.files[0].digest) == ("a", "", "")


def test_odd_rows_are_a_warning_because_servers_differ(write: Write) -> None:
    root = write({"a.yaml": spec("a"), "b.yaml": spec("b"), "data/train.jsonl": ROW * 3})
    repository = load(["."], cwd=root)
    assert len(repository.desired) == 2
    said = "the file ends after 3 rows, but at least 10 are needed"
    assert repository.warnings == (Problem("data/train.jsonl", 3, 0, said),)


def test_models_that_policy_does_not_allow_are_refused(write: Write) -> None:
    specs = [spec("a", model="gpt-4.1-mini"), spec("b", model="gpt-4o"), spec("c", model="{job: a}")]
    settings = 'policy: {allowed_models: ["gpt-4.1-*", o4-mini]}\n'
    root = write({"reconciler.yaml": settings, "a.yaml": "---\n".join(specs)})
    assert refused(root) == [
        "a.yaml:6:8: model: 'gpt-4o' is not allowed here; policy.allowed_models has gpt-4.1-*, o4-mini"
    ]


def test_an_upstream_that_is_itself_bad_is_not_called_unknown(write: Write) -> None:
    root = write({"a.yaml": f"{spec('a', 'seed: -1')}---\n{spec('b', model='{job: a}')}"})
    assert len(refused(root)) == 1


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        (lambda t: f"# new words\n{t}", False),
        (lambda t: t.replace("name: a\n", 'name: "a"\n'), False),
        (lambda t: t.replace("seed: 7", "metadata: {team: x}\nseed: 7"), False),
        (lambda t: t.replace("seed: 7", "wandb: {project: x}\nseed: 7"), False),
        (lambda t: t.replace("seed: 7", "state: paused\npriority: 3\nprotect: true\nseed: 7"), False),
        (lambda t: t.replace("n_epochs: 3", "n_epochs: 3.0, batch_size: auto"), False),
        (lambda t: t.replace("data/train.jsonl", "data/copy.jsonl"), False),
        (lambda t: t.replace("name: a", "name: b"), False),
        (lambda t: t.replace("seed: 7", "seed: 8"), True),
        (lambda t: t.replace("seed: 7", "rerun: again\nseed: 7"), True),
        (lambda t: t.replace("seed: 7", "suffix: x\nseed: 7"), True),
        (lambda t: t.replace("n_epochs: 3", "n_epochs: 4"), True),
        (lambda t: t.replace("data/train.jsonl", "data/other.jsonl"), True),
        (lambda t: t.replace("seed: 7", "validation_file: data/other.jsonl\nseed: 7"), True),
        (lambda t: t.replace("model: m", "model: n"), True),
        (lambda t: t.replace("model: m", "method: dpo\nmodel: m"), True),
    ],
)
def test_a_revision_changes_with_what_training_depends_on_and_nothing_else(
    edit: object, changes: bool, write: Write
) -> None:
    assert callable(edit)
    text = spec("a", "seed: 7", "hyperparameters: {n_epochs: 3}")
    root = write({"a.yaml": text, "data/copy.jsonl": ROW * 10, "data/other.jsonl": ROW * 11})
    [before] = desired(root).values()
    (root / "a.yaml").write_text(edit(text))
    [after] = desired(root).values()
    assert (before.revision != after.revision) is changes


def test_a_change_upstream_reaches_all_that_is_built_on_it(write: Write) -> None:
    text = "---\n".join([spec("a", "seed: 1"), spec("b", model="{job: a}"), spec("c", model="{job: b}"), spec("d")])
    root = write({"a.yaml": text})
    before = desired(root)
    (root / "a.yaml").write_text(text.replace("seed: 1", "seed: 2"))
    after = desired(root)
    assert [n for n in before if before[n].revision != after[n].revision] == ["a", "b", "c"]


def test_environments_lay_their_overrides_upon_every_spec(write: Write) -> None:
    settings = """\
environments:
  dev:
    overrides:
      hyperparameters: {n_epochs: 1, batch_size: null}
      metadata: {stage: dev}
      permissions: [proj_b]
      seed: null
      matrix: null
"""
    lines = ("seed: 7", "hyperparameters: {n_epochs: 3, batch_size: 4, learning_rate_multiplier: 2}")
    more = ("metadata: {team: x}", "permissions: [proj_a]", "matrix: {suffix: [x, y]}")
    root = write({"reconciler.yaml": settings, "a.yaml": spec("a", *lines, *more)})
    assert sorted(desired(root)) == ["a-x", "a-y"]
    [job] = desired(root, environment="dev").values()
    assert job.method["supervised"] == {"hyperparameters": {"n_epochs": 1, "learning_rate_multiplier": 2.0}}
    assert (job.name, job.seed, job.metadata, job.permissions) == (
        "a",
        None,
        {"team": "x", "stage": "dev"},
        ("proj_b",),
    )


def test_a_fault_in_overrides_is_told_where_it_stands(write: Write) -> None:
    settings = (
        "environments:\n  dev:\n    overrides:\n      hyperparameters:\n        n_epochs: 99\n        n_epoch: 1\n"
    )
    root = write(
        {"reconciler.yaml": settings, "a.yaml": spec("a", "hyperparameters: {n_epochs: 1}"), "b.yaml": spec("b")}
    )
    assert refused(root, environment="dev") == [
        "reconciler.yaml:5:19: hyperparameters.n_epochs: must be at most 50, not 99",
        "reconciler.yaml:6:9: hyperparameters.n_epoch: unknown key; did you mean 'n_epochs'?",
    ]


def test_a_fault_beside_overrides_is_told_in_the_spec(write: Write) -> None:
    settings = "environments: {dev: {overrides: {hyperparameters: {n_epochs: 1}}}}\n"
    root = write({"reconciler.yaml": settings, "a.yaml": spec("a", "hyperparameters: {n_epochs: 99, beta: 1}")})
    assert refused(root, environment="dev") == [
        "a.yaml:4:33: hyperparameters.beta: unknown key here; it is a hyperparameter of dpo"
    ]


def test_an_unknown_environment_is_a_wrong_command_that_names_the_known_ones(write: Write) -> None:
    root = write({"reconciler.yaml": "environments: {prod: {}, dev: {}}\n", "a.yaml": spec()})
    with pytest.raises(UsageError, match="no environment 'stage'") as caught:
        load(["."], cwd=root, environment="stage")
    assert caught.value.hint == "Known environments: dev, prod."


def test_a_symlink_that_leaves_the_repository_is_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "specs").mkdir(parents=True)
    outside.mkdir()
    (root / "reconciler.yaml").touch()
    (outside / "a.yaml").write_text(spec())
    (outside / "train.jsonl").write_text(ROW * 10)
    (root / "specs/link.yaml").symlink_to(outside / "a.yaml")
    (root / "specs/dir").symlink_to(outside)
    (root / "specs/gone.yaml").symlink_to(root / "gone")
    (root / "specs/loop.yaml").symlink_to(root / "specs/loop.yaml")
    (root / "specs/train.jsonl").symlink_to(outside / "train.jsonl")
    (root / "specs/b.yaml").write_text(spec("b", data="train.jsonl"))
    (root / "more").symlink_to(outside)
    os.mkfifo(root / "specs/pipe.yaml")
    said = refused(root, "specs", "more")
    assert said[:6] == [
        "more: leaves the repository",
        "specs/b.yaml:3:16: training_file: train.jsonl is a symlink that leaves the repository",
        "specs/dir: is a symlink to a directory; give that directory itself as a path",
        "specs/gone.yaml: cannot be read: the symlink leads nowhere",
        "specs/link.yaml: is a symlink that leaves the repository",
        "specs/loop.yaml: cannot be read: Too many levels of symbolic links",
    ]
    assert said[6:] == ["specs/pipe.yaml: is not a regular file"]


def test_a_symlink_within_the_repository_is_a_file_like_others(write: Write) -> None:
    root = write({"shared/a.yaml": spec(data="../data/train.jsonl")})
    (root / "specs").mkdir()
    (root / "specs/a.yaml").symlink_to(root / "shared/a.yaml")
    assert list(desired(root, "specs")) == ["a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_a_problem_not_an_absence(write: Write) -> None:
    root = write({"specs/a.yaml": spec(data="../data/train.jsonl"), "specs/b/b.yaml": spec("b")})
    (root / "specs/b").chmod(0)
    try:
        assert refused(root, "specs") == ["specs/b: cannot be read: Permission denied"]
    finally:
        (root / "specs/b").chmod(0o755)


@pytest.mark.parametrize("rules", [b"\xff\n", b"!\n"])
def test_a_bad_ignore_file_is_said(rules: bytes, write: Write) -> None:
    root = write({"a.yaml": spec()})
    (root / ".reconcilerignore").write_bytes(rules)
    assert refused(root)[0].startswith(".reconcilerignore: ")


def test_the_root_is_the_nearest_directory_with_settings_then_with_git(tmp_path: Path) -> None:
    specs = tmp_path / "outer/team/specs"
    specs.mkdir(parents=True)
    assert find_root(specs, specs.parent) == specs.parent
    assert find_root(specs, tmp_path / "elsewhere") == specs.parent
    (tmp_path / "outer/.git").mkdir()
    assert find_root(specs, specs.parent) == tmp_path / "outer"
    (tmp_path / "outer/team/reconciler.yaml").touch()
    assert find_root(Path("specs"), specs.parent) == tmp_path / "outer/team"
    assert find_root(specs / "a.yaml", specs) == tmp_path / "outer/team"


def test_a_thousand_specs_load_soon(write: Write) -> None:
    root = write(
        {
            f"s/{i}.yaml": spec(f"s{i}", f"seed: {i}", "wandb: {project: x}", data="../data/train.jsonl")
            for i in range(1000)
        }
    )
    start = time.perf_counter()
    assert len(desired(root)) == 1000
    assert (
        time.perf_counter() - start < 3
    )  # about 0.15 s on an idle machine; a slow path taken for all would take longer
