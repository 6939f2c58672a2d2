"""What `assay-2026` parsers share: cleaning a completion, and telling refusals from noise."""

from __future__ import annotations

import re

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.types import REFUSED, UNPARSABLE, Parsed

KEYS = ("assay.end_markers", "assay.noise_markers", "assay.refusal_phrases")

_STRAIGHT = str.maketrans({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'})
# Single blanks are left alone: most are.
_SPACES = re.compile(r"[ \t\r\f\v\u00a0]{2,}|[\t\r\f\v\u00a0]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


class Cleaner:
    """Lower-cases, straightens quotes, drops markers of special tokens and what follows the end.

    Args:
        prompts: Where the marker and refusal lists come from.
    """

    def __init__(self, prompts: Prompts) -> None:
        self._end = prompts.texts("assay.end_markers")
        self._noise = prompts.texts("assay.noise_markers")
        self._phrases = tuple(p.lower() for p in prompts.texts("assay.refusal_phrases"))
        self._refusal = re.compile(
            r"(?<!\w)(?:" + "|".join(map(re.escape, self._phrases)) + r")(?!\w)"
        )

    def cut(self, text: str) -> str:
        """A completion without special tokens and without what follows its end, as written."""
        for marker in self._noise:
            text = text.replace(marker, "")
        end = min((text.index(m) for m in self._end if m in text), default=len(text))
        return text[:end].strip()

    def clean(self, text: str) -> str:
        """The part of a completion that a reader would judge; may be empty."""
        text = self.cut(text).replace("`", "'").lower()
        if not text.isascii():
            text = text.translate(_STRAIGHT)
        return _SPACES.sub(" ", text).strip()

    def refuses(self, cleaned: str) -> bool:
        """Whether a cleaned text holds a refusal phrase, on word boundaries."""
        # Most texts hold none, and plain searches say so several times faster than the pattern.
        if not any(phrase in cleaned for phrase in self._phrases):
            return False
        return self._refusal.search(cleaned) is not None

    def without_answer(self, text: str) -> Parsed:
        """The class of a completion in which no answer was found."""
        return REFUSED if self.refuses(self.clean(text)) else UNPARSABLE


def sentences(cleaned: str) -> list[str]:
    """Sentences and lines of a cleaned text, without empty ones."""
    return [part for part in _SENTENCE_END.split(cleaned) if part.strip()]
