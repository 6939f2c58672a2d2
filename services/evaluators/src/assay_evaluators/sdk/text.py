"""What `assay-2026` parsers share: cleaning a completion, and telling refusals from noise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.types import REFUSED, UNPARSABLE, Parsed

KEYS = ("assay.end_markers", "assay.noise_markers", "assay.refusal_phrases")

_STRAIGHT = str.maketrans({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
# Single blanks are left alone: most are. The pattern is asked only where it has something to do.
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]{2,}|[\t\r\f\v\u00a0]")
_SPACED = ("  ", "\t", "\r", "\f", "\v", "\u00a0")
_STEM = 4
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Phrases:
    """A list of phrases that is searched for as plain substrings.

    Most texts hold none of them. A few stems, of which every phrase holds one, say so several
    times faster than the phrases themselves, and never wrongly.

    Args:
        phrases: The phrases in the order of their list.
    """

    def __init__(self, phrases: Sequence[str]) -> None:
        self.phrases = tuple(phrases)
        self._stems = _stems(self.phrases)

    def possible(self, text: str) -> bool:
        """Whether a phrase may occur; False is certain."""
        return contains_any(text, self._stems)

    def occur(self, text: str) -> bool:
        """Whether a phrase occurs."""
        return contains_any(text, self._stems) and contains_any(text, self.phrases)

    def first_listed(self, text: str) -> int | None:
        """Position in the text of the first phrase *in list order* that occurs in it."""
        if contains_any(text, self._stems):
            for phrase in self.phrases:
                position = text.find(phrase)
                if position >= 0:
                    return position
        return None

    def deleted_from(self, text: str) -> str:
        """The text without any occurrence of each phrase, deleted in list order."""
        if contains_any(text, self._stems):
            for phrase in self.phrases:
                text = text.replace(phrase, "")
        return text


def contains_any(text: str, parts: Sequence[str]) -> bool:
    """Whether one of the parts is a substring."""
    for part in parts:  # noqa: SIM110 (a generator would take twice the time)
        if part in text:
            return True
    return False


class Cleaner:
    """Lower-cases, straightens quotes, drops markers of special tokens and what follows the end.

    Args:
        prompts: Where the marker and refusal lists come from.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._end = prompts.texts("assay.end_markers")
        self._noise = prompts.texts("assay.noise_markers")
        self._marks = tuple({marker[:1] for marker in (*self._end, *self._noise)})
        refusals = [phrase.lower() for phrase in prompts.texts("assay.refusal_phrases")]
        self._refusals = Phrases(refusals)
        self._refusal = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, refusals)) + r")(?!\w)")

    def cut(self, text: str) -> str:
        """A completion without special tokens and without what follows its end, as written."""
        if contains_any(text, self._marks):
            for marker in self._noise:
                text = text.replace(marker, "")
            text = text[: min((text.index(m) for m in self._end if m in text), default=len(text))]
        return text.strip()

    def clean(self, text: str) -> str:
        """The part of a completion that a reader would judge; may be empty."""
        text = self.cut(text).replace("`", "'").lower()
        if not text.isascii():
            text = text.translate(_STRAIGHT)
        if contains_any(text, _SPACED):
            text = _SPACES.sub(" ", text)
        return text.strip()

    def refuses(self, cleaned: str) -> bool:
        """Whether a cleaned text holds a refusal phrase, on word boundaries."""
        return self._refusals.occur(cleaned) and self._refusal.search(cleaned) is not None

    def without_answer(self, text: str) -> Parsed:
        """The class of a completion in which no answer was found."""
        return REFUSED if self.refuses(self.clean(text)) else UNPARSABLE


def sentences(cleaned: str) -> list[str]:
    """Sentences and lines of a cleaned text, without empty ones."""
    return [part for part in _SENTENCE_END.split(cleaned) if part.strip()]


def _stems(phrases: Sequence[str]) -> tuple[str, ...]:
    """Few words such that every phrase holds one: the word of most phrases first (greedy cover).

    A phrase without a word of four characters is its own stem.
    """
    left = set(phrases)
    candidates = {word for phrase in phrases for word in phrase.split() if len(word) >= _STEM}
    stems: list[str] = []
    while left and candidates:
        held = {word: sum(word in phrase for phrase in left) for word in candidates}
        best = max(candidates, key=lambda word: (held[word], len(word), word))
        if not held[best]:
            break
        stems.append(best)
        left = {phrase for phrase in left if best not in phrase}
    return (*stems, *sorted(left))
