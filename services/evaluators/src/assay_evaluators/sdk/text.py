"""What `assay-2026` parsers share: cleaning a completion, and telling refusals from noise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.types import REFUSED, UNPARSABLE, Parsed

KEYS = ("assay.end_markers", "assay.noise_markers", "assay.refusal_phrases")

_STRAIGHT = str.maketrans({0x2018: "'", 0x2019: "'", 0x60: "'", 0x201C: '"', 0x201D: '"'})
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Cleaner:
    """Lower-cases, straightens quotes, drops markers of special tokens and what follows the end.

    Args:
        prompts: Where the marker and refusal lists come from.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._end = _alternation(prompts.texts("assay.end_markers"))
        self._noise = _alternation(prompts.texts("assay.noise_markers"))
        phrases = [phrase.lower() for phrase in prompts.texts("assay.refusal_phrases")]
        self._refusal = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, phrases)) + r")(?!\w)")

    def clean(self, text: str) -> str:
        """The part of a completion that a reader would judge; may be empty."""
        text = self._noise.sub("", text)
        text = self._end.split(text, maxsplit=1)[0]
        return _SPACES.sub(" ", text.translate(_STRAIGHT).lower()).strip()

    def refuses(self, cleaned: str) -> bool:
        """Whether a cleaned text holds a refusal phrase, on word boundaries."""
        return self._refusal.search(cleaned) is not None

    def without_answer(self, text: str) -> Parsed:
        """The class of a completion in which no answer was found."""
        return REFUSED if self.refuses(self.clean(text)) else UNPARSABLE


def sentences(cleaned: str) -> list[str]:
    """Sentences and lines of a cleaned text, without empty ones."""
    return [part for part in _SENTENCE_END.split(cleaned) if part.strip()]


def _alternation(markers: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, markers)))
