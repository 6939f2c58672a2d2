"""Finding a label word in a free answer, for the `assay-2026` parsers of classification tasks.

`yes`, `no` and `maybe` also occur inside ordinary sentences ("there is no evidence"), so they count
only where an answer stands: at the start, or after "the answer is" and the like. Other label words
(`positive`) count anywhere, unless negated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from assay_evaluators.sdk.text import Cleaner, sentences
from assay_evaluators.sdk.types import REFUSED, UNPARSABLE, Parsed, answered

_PARTICLES = ("yes", "no", "maybe")
_SAID = (
    r"\b(?:answer|label|sentiment|verdict|output|response|choice)(?: here)?"
    r"(?: is|:| would be| should be| =)\W*|\b(?:i (?:would )?(?:say|answer|choose|choice))\W*"
)
_QUOTE = re.compile(r"\"[^\"]*\s[^\"]*\"")
# "not very positive", "isn't positive", "neither positive nor negative", "non-positive".
_NEGATED = re.compile(r"(?:\b(?:not|never|neither|nor|cannot)|n't)(?: \w+){0,2} $|\bnon-$")
_WINDOW = 40


class LabelFinder:
    """Finds one of some label words.

    Args:
        words: Lower-case label words.
        cleaner: Of the same pack.
    """

    def __init__(self, words: Sequence[str], cleaner: Cleaner) -> None:
        self._cleaner = cleaner
        self._words = frozenset(words)
        self._particles = tuple(word for word in words if word in _PARTICLES)
        other = _alternatives(word for word in words if word not in _PARTICLES)
        every = _alternatives(words)
        # "yes or no", "yes/no", "yes, maybe": a list and no answer.
        listed = rf"(?!\W{{0,4}}(?:or\b|and\b|/|{every}\b))"
        self._first = re.compile(rf"\W*(?:the )?(?:{_SAID})?({every})\b{listed}")
        self._said = re.compile(rf"(?:{_SAID})({every})\b{listed}")
        self._content = re.compile(rf"\b({other})\b") if other else None

    def parse(self, text: str) -> Parsed:
        """The label of the first sentence that has one; two in it are none."""
        cleaned = self._cleaner.clean(text)
        if cleaned in self._words:
            return answered(cleaned)
        # Quotations of the input may hold label words; a quoted label is one word.
        for sentence in sentences(_QUOTE.sub(" ", cleaned)):
            found = self._labels(sentence)
            if found:
                if self._cleaner.refuses(sentence):
                    return REFUSED
                return answered(found.pop()) if len(found) == 1 else UNPARSABLE
        return REFUSED if self._cleaner.refuses(cleaned) else UNPARSABLE

    def _labels(self, sentence: str) -> set[str]:
        first = self._first.match(sentence)
        if first is not None and first[1] in self._particles:
            return {first[1]}
        found = {match[1] for match in self._said.finditer(sentence)}
        if self._content is not None:
            found |= {
                match[1]
                for match in self._content.finditer(sentence)
                if not _NEGATED.search(sentence[max(0, match.start() - _WINDOW) : match.start()])
            }
        return found


def _alternatives(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))
