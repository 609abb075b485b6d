"""Metrics: values worked out by hand or published by the libraries, and what holds for any text."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from reconciler.errors import MissingExtra
from reconciler.server.graders.case import GraderFault
from reconciler.server.graders.similarity import LONGEST, METRICS, _bleu, similarity, words

PARTY = "It is a guide to action which ensures that the military always obeys the commands of the party"
PARTY_REFERENCE = "It is a guide to action that ensures that the military will forever heed Party commands"

VALUES = [
    # Counts: (the 2, cat 1) and (the 1, cat 1, sat 1): dot 3, lengths sqrt 5 and sqrt 3.
    ("cosine", "the cat the", "the cat sat", 3 / math.sqrt(15)),
    ("cosine", "The CAT!", "the cat", 1.0),
    ("cosine", "dog", "cat", 0.0),
    ("cosine", "", "cat", 0.0),
    # rapidfuzz's documentation: fuzz.ratio of these two is 96.55.
    ("fuzzy_match", "this is a test", "this is a test!", 28 / 29),
    ("fuzzy_match", "abc", "abd", 4 / 6),
    ("fuzzy_match", "", "", 1.0),
    ("fuzzy_match", "abc", "xyz", 0.0),
    # All n-grams are in the reference; two words of four: the brevity penalty is exp(1 - 4/2).
    ("bleu", "the cat", "the cat sat down", math.exp(-1)),
    # 1-grams 4 of 5, 2-grams 3 of 4, 3-grams 2 of 3, 4-grams 1 of 2; equally long.
    ("bleu", "the cat sat down today", "the cat sat down now", (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25),
    ("bleu", "", "the cat", 0.0),
    # n-grams up to four in common: 4 + 3 + 2 + 1 of 5 + 4 + 3 + 2 in each.
    ("gleu", "the cat sat down today", "the cat sat down now", 10 / 14),
    # NLTK's documentation has 0.4393 for this pair, which is 29/66; here party and Party are one word.
    ("gleu", PARTY, PARTY_REFERENCE, 30 / 66),
    ("gleu", "cat", "dog", 0.0),
    # NLTK's documentation has 0.6944 for this pair.
    ("meteor", PARTY, PARTY_REFERENCE, 0.6944444444444445),
    # Two words match as stems, in one chunk of two: 1 - 0.5 * (1/2)^3.
    ("meteor", "running dogs", "run dog", 1 - 0.5 / 8),
    ("meteor", "this is a cat", "non matching hypothesis", 0.0),
    ("rouge_1", "the cat sat", "the cat sat on the mat", 2 * 3 / 9),
    ("rouge_2", "the cat sat", "the cat sat on the mat", 2 * 2 / 7),
    ("rouge_3", "the cat sat", "the cat sat on the mat", 2 * 1 / 5),
    ("rouge_4", "the cat sat", "the cat sat on the mat", 0.0),
    ("rouge_4", "a b c d e", "a b c d f", 2 * 1 / 4),
    ("rouge_5", "a b c d e f", "a b c d e g", 2 * 1 / 4),
    ("rouge_l", "the mat the cat", "the cat sat on the mat", 2 * 2 / 10),
    ("rouge_l", "a x b y c", "a b c", 2 * 3 / 8),
]


@pytest.mark.parametrize(("metric", "text", "reference", "value"), VALUES)
def test_a_metric_has_the_value_worked_out_by_hand(metric: str, text: str, reference: str, value: float) -> None:
    assert similarity(metric, text, reference) == pytest.approx(value, abs=1e-9)


def test_every_metric_of_the_api_has_a_value_in_the_table() -> None:
    assert {metric for metric, *_ in VALUES} == set(METRICS)


WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat", "Mat", "3"]), min_size=1, max_size=30)
ROUGE = {f"rouge_{kind}": f"rouge{kind.upper()}" for kind in ("1", "2", "3", "4", "5", "l")}
SCORER = RougeScorer(sorted(ROUGE.values()), use_stemmer=False)


@settings(deadline=None)
@given(WORDS, WORDS)
def test_rouge_agrees_with_googles_implementation(text: list[str], reference: list[str]) -> None:
    scores = SCORER.score(" ".join(reference), " ".join(text))
    for ours, theirs in ROUGE.items():
        assert similarity(ours, " ".join(text), " ".join(reference)) == pytest.approx(scores[theirs].fmeasure)


@settings(deadline=None)
@given(st.sampled_from(sorted(METRICS)), st.text(max_size=80), st.text(max_size=80))
def test_any_two_texts_are_between_0_and_1_alike(metric: str, text: str, reference: str) -> None:
    assert 0 <= similarity(metric, text, reference) <= 1


@settings(deadline=None)
@given(st.sampled_from(sorted(set(METRICS) - {"meteor"})), WORDS.filter(lambda each: len(each) > 5))
def test_equal_texts_are_wholly_alike(metric: str, each: list[str]) -> None:
    assert similarity(metric, " ".join(each), " ".join(each)) == pytest.approx(1.0)


def test_words_are_of_any_script_and_ideographs_stand_alone() -> None:
    assert words("Grüße, it's_3.5 日本語 тест") == ["grüße", "it", "s", "3", "5", "日", "本", "語", "тест"]
    assert similarity("rouge_1", "日本語", "日本人") == pytest.approx(2 / 3)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_a_text_that_would_take_long_is_flagged(metric: str) -> None:
    with pytest.raises(GraderFault, match="characters") as fault:
        similarity(metric, "a" * (LONGEST + 1), "b")
    assert fault.value.flag == "other_error"


def test_meteor_needs_no_download(tmp_path: Path) -> None:
    program = "from reconciler.server.graders.similarity import similarity as s; print(s('meteor', 'a b', 'a b'))"
    environment = {"NLTK_DATA": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert float(done.stdout) == pytest.approx(1 - 0.5 / 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metric", ["fuzzy_match", "bleu", "gleu", "meteor", "rouge_l"])
def test_a_metric_without_its_library_names_the_extra(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = ("nltk", "rapidfuzz", "sacrebleu")
    for loaded in [name for name in sys.modules if name.partition(".")[0] in libraries]:
        monkeypatch.delitem(sys.modules, loaded)
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)
    _bleu.cache_clear()
    with pytest.raises(MissingExtra) as missing:
        similarity(metric, "a b", "a b")
    assert "finetune-reconciler[graders]" in missing.value.hint


def test_metrics_over_counts_need_no_library() -> None:
    program = """
import sys
for library in ("nltk", "rapidfuzz", "sacrebleu"):
    sys.modules[library] = None
from reconciler.server.graders.similarity import similarity
print(similarity("cosine", "a b", "a b"), similarity("rouge_2", "a b", "a b"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "1.0"]
