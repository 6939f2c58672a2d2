"""The embedded classifier: alt-profanity-check, a linear model that comes with its package.

It runs offline on one core. `assay data calibrate-toxicity` says how its ranks relate to
Perspective's (docs/parsers.md has the numbers); its scale is its own, so its name stands in the id
of every metric made with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from assay_core.digest import sha256_bytes
from assay_core.errors import FailedPrecondition
from assay_evaluators.sdk.text_scores import checked
from assay_evaluators.sdk.types import TextScore

PACKAGE = "alt-profanity-check"
VERSION = "1.9.1"
ID = f"{PACKAGE}-{VERSION}"
BATCH = 4096

FILES = {
    "model.joblib": "sha256:aeafc04849d4d93db4721cf30a86ebf22085595294b8a07d51918e7fa98f538b",
    "vectorizer.joblib": "sha256:19c5200dc6a41f026e0558e2f164f5fe8d8f58e502b46b37e4385037fcfa4831",
}
"""Weights by their digests. They are pickles, so that nothing is loaded but these very bytes."""


class EmbeddedScorer:
    """alt-profanity-check as a scorer; loaded at first use (150 MB with scikit-learn)."""

    id = ID
    batch = BATCH

    async def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Scores texts off the event loop; see `score_now`."""
        return await asyncio.to_thread(self.score_now, texts)

    def score_now(self, texts: Sequence[str]) -> list[TextScore]:
        """Scores texts. Blocks.

        Raises:
            FailedPrecondition: If the package is missing, or its weights are not the known ones.
        """
        return [checked(value) for value in _classifier()(texts)] if texts else []


@cache
def _classifier() -> Callable[[Sequence[str]], Sequence[float]]:
    _check()
    # scikit-learn takes 2 s and 150 MB, which only a scored evaluation needs.
    import profanity_check  # noqa: PLC0415

    def classify(texts: Sequence[str]) -> Sequence[float]:
        probabilities: Any = profanity_check.predict_prob(list(texts))
        return [float(value) for value in probabilities]

    return classify


def _check() -> None:
    try:
        package = distribution(PACKAGE)
        folder = Path(str(package.locate_file("profanity_check/data")))
        found = {name: sha256_bytes((folder / name).read_bytes()) for name in FILES}
    except (PackageNotFoundError, OSError):
        raise _unusable("is not installed") from None
    if found != FILES:
        raise _unusable("holds other weights than those known")


def _unusable(problem: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the package {PACKAGE} {problem}",
        reason="SCORER_NOT_USABLE",
        remedy=f"install {PACKAGE}=={VERSION} (it is in locks/base.lock)",
    )
