"""From the text of a completion to its outcome: the parser, and a classifier where one is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.dimension import Outcome, ParserVersion
from assay_evaluators.sdk.text_scores import text_digest
from assay_evaluators.sdk.types import Sample, TextScore


class Judge:
    """What a parser version makes of completions.

    Args:
        parser: The version.
        prompts: Texts and phrase lists of the pack.
        scores: A classifier's scores by digest of the text, for dimensions that need one. A text
            without an entry has no value; `unscored` counts them.
    """

    def __init__(
        self,
        parser: ParserVersion,
        prompts: Prompts,
        scores: Mapping[bytes, TextScore] | None = None,
    ) -> None:
        self._parse = parser.build(prompts)
        self._value = parser.value
        self._text_of = parser.scored_text(prompts) if parser.scored_text else None
        self._scores = scores or {}
        self.unscored = 0

    def __call__(self, text: str, sample: Sample, index: int) -> Outcome:
        """The outcome of completion `index` of a sample. Never raises, whatever the text."""
        parsed = self._parse(text, sample, index)
        if self._text_of is not None:
            score = self._scores.get(text_digest(self._text_of(text)))
            self.unscored += score is None
            parsed = replace(parsed, score=score)
        return Outcome(sample, parsed, self._value(parsed, sample))
