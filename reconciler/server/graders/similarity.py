"""How alike two texts are, between 0 (nothing in common) and 1.

The metrics come from the libraries that define them, but for two that are a few lines over counts. They are loaded
when they are first used.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler.errors import MissingExtra
from reconciler.server.graders.case import GraderFault

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU

LONGEST = 100_000
"""Characters that either text may have: a comparison holds up all threads, so it takes less than a second."""

_CJK = r"\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")


def similarity(metric: str, text: str, reference: str) -> float:
    """Compare two texts by one of the API's metrics.

    Raises:
        GraderFault: a text is too long.
        MissingExtra: the metric's library is not installed.
    """
    for name, each in (("input", text), ("reference", reference)):
        if len(each) > LONGEST:
            raise GraderFault("other_error", f"The {name} has {len(each)} characters; {LONGEST} can be compared.")
    value = METRICS[metric](text, reference)
    return min(max(float(value), 0.0), 1.0)  # a sum of floats may end a hair beyond


def words(text: str) -> list[str]:
    """Split a text into words: runs of letters and digits in lower case; each ideograph or kana is one of its own."""
    return _WORD.findall(text.lower())


def cosine(text: str, reference: str) -> float:
    """Return the cosine between the counts of words."""
    one, other = Counter(words(text)), Counter(words(reference))
    if one == other:
        return 1.0 if one else 0.0
    dot = sum(count * other[word] for word, count in one.items())
    return dot / math.sqrt(_square(one) * _square(other)) if dot else 0.0


def _square(counts: Counter[str]) -> int:
    return sum(count * count for count in counts.values())


def fuzzy_match(text: str, reference: str) -> float:
    """Return rapidfuzz's ratio: insertions and deletions that turn one text into the other, over both lengths."""
    with _needed("rapidfuzz", "fuzzy_match"):
        from rapidfuzz.fuzz import ratio  # noqa: PLC0415
    return float(ratio(text, reference)) / 100


def bleu(text: str, reference: str) -> float:
    """Return sacrebleu's sentence BLEU, of as many n-grams as the text has, up to four words."""
    return float(_bleu().sentence_score(text, [reference]).score) / 100


def gleu(text: str, reference: str) -> float:
    """Return NLTK's sentence GLEU (Google's): n-grams in common, up to four words, over those of the longer text."""
    if not (one := words(text)) or not (other := words(reference)):
        return 0.0
    with _needed("nltk", "gleu"):
        from nltk.translate.gleu_score import sentence_gleu  # noqa: PLC0415
    return float(sentence_gleu([other], one))


def meteor(text: str, reference: str) -> float:
    """Return NLTK's METEOR, of equal words and equal stems. Synonyms would need a corpus to be downloaded."""
    with _needed("nltk", "meteor"):
        from nltk.translate.meteor_score import single_meteor_score  # noqa: PLC0415
    return float(single_meteor_score(words(reference), words(text), wordnet=_NoSynonyms()))


class _NoSynonyms:
    def synsets(self, word: str) -> Sequence[object]:  # noqa: ARG002 - the library's protocol
        return ()


def rouge_n(size: int, text: str, reference: str) -> float:
    """Return ROUGE-N: the F-measure of the n-grams of ``size`` words that both texts have."""
    one, other = _grams(words(text), size), _grams(words(reference), size)
    return _f_measure((one & other).total(), one.total(), other.total())


def _grams(tokens: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))


def rouge_l(text: str, reference: str) -> float:
    """Return ROUGE-L: the F-measure of the longest common subsequence of words."""
    with _needed("rapidfuzz", "rouge_l"):
        from rapidfuzz.distance import LCSseq  # noqa: PLC0415
    one, other = words(text), words(reference)
    return _f_measure(int(LCSseq.similarity(one, other)), len(one), len(other))


def _f_measure(common: int, found: int, wanted: int) -> float:
    return 2 * common / (found + wanted) if common else 0.0


METRICS: Mapping[str, Callable[[str, str], float]] = {
    "cosine": cosine,
    "fuzzy_match": fuzzy_match,
    "bleu": bleu,
    "gleu": gleu,
    "meteor": meteor,
    **{f"rouge_{size}": functools.partial(rouge_n, size) for size in range(1, 6)},
    "rouge_l": rouge_l,
}
"""The API's metrics, by name."""


@functools.cache
def _bleu() -> BLEU:
    with _needed("sacrebleu", "bleu"):
        from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415
    return BLEU(effective_order=True)


@contextlib.contextmanager
def _needed(library: str, metric: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f"{library}, which the metric {metric} needs,", "graders") from error
