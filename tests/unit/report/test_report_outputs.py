from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from reconciler.errors import ReconcilerError
from reconciler.report.outputs import outputs

MODELS = {"triage-v2": "ft:gpt-4.1-mini:acme:triage:Zx8", "draft": None, "a.b": 'we\'ird ${x} %{y} "q" \\ $HOME'}
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True)


def read_yaml(text: str) -> object:
    document: object = YAML(typ="safe").load(text)
    return document


def test_json_is_names_and_models() -> None:
    text = outputs(MODELS, "json")
    assert json.loads(text) == MODELS
    assert list(json.loads(text)) == sorted(MODELS)


@pytest.mark.parametrize("name", ["null", "on", "1.5", "2026-11-01", "y", "0x1f"])
def test_yaml_keeps_names_that_look_like_something_else(name: str) -> None:
    assert read_yaml(outputs({name: "m"}, "yaml")) == {name: "m"}


@given(st.dictionaries(NAMES, st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
@settings(database=None, deadline=None)
def test_yaml_and_json_lose_nothing(models: dict[str, str | None]) -> None:
    assert read_yaml(outputs(models, "yaml")) == models
    assert json.loads(outputs(models, "json")) == models
    assert outputs(models, "yaml").replace("\n", "").isprintable()


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
def test_a_shell_reads_back_what_was_written() -> None:
    script = outputs(MODELS, "env") + 'printf "%s|%s|%s" "$TRIAGE_V2" "$A_B" "${DRAFT-unset}"'
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, env={})
    assert run.stdout.split("|") == [MODELS["triage-v2"], MODELS["a.b"], "unset"]


def test_a_name_without_a_model_is_a_comment_not_an_empty_variable() -> None:
    assert outputs({"draft": None}, "env") == "# DRAFT: no model yet\n"


def test_a_variable_never_starts_with_a_digit() -> None:
    assert outputs({"3d": "m"}, "env") == "_3D=m\n"


def test_names_that_would_share_a_variable_are_refused() -> None:
    with pytest.raises(ReconcilerError, match=r"'a-b' and 'a\.b' would both be A_B") as caught:
        outputs({"a.b": "x", "a-b": "y"}, "env")
    assert caught.value.hint


def test_a_model_that_no_environment_file_can_hold_is_refused() -> None:
    with pytest.raises(ReconcilerError, match=r"m\\x1b"):
        outputs({"a": "m\x1b"}, "env")


def test_terraform_reads_strings_not_templates() -> None:
    assert outputs(MODELS, "tfvars") == (
        "fine_tuned_models = {\n"
        '  "a.b"       = "we\'ird $${x} %%{y} \\"q\\" \\\\ $HOME"\n'
        '  "draft"     = null\n'
        '  "triage-v2" = "ft:gpt-4.1-mini:acme:triage:Zx8"\n'
        "}\n"
    )


def test_strings_beyond_ascii_are_escaped_for_yaml_and_terraform() -> None:
    assert outputs({"a": "é\n🎉"}, "yaml") == '"a": "\\u00e9\\u000a\\U0001f389"\n'
    assert '"\\u00e9\\u000a\\U0001f389"' in outputs({"a": "é\n🎉"}, "tfvars")


@pytest.mark.parametrize(
    ("form", "text"), [("json", "{}\n"), ("yaml", "{}\n"), ("env", ""), ("tfvars", "fine_tuned_models = {\n}\n")]
)
def test_no_models_are_still_a_valid_file(form: str, text: str) -> None:
    assert outputs({}, form) == text  # type: ignore[arg-type]
