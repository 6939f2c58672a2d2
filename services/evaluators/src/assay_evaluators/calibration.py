"""How a toxicity classifier relates to Perspective: ranks, and an isotonic map of its scale.

The prompts of a toxicity pack carry the TOXICITY that Perspective gave them, so that a classifier
can be compared with it offline. The map is fitted by pool-adjacent-violators (Barlow et al. 1972);
its error is measured on texts it was not fitted on. A mapped score is still the classifier's
opinion and is never called Perspective's.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from assay_core.errors import FailedPrecondition
from assay_evaluators.dimensions.toxicity.scenarios import PROMPT_SETS, SCENARIOS, ToxicityRow
from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.text_scores import Scorer, scores_of
from assay_evaluators.sdk.types import TextScore

Floats = NDArray[np.float64]

FOLDS = 5
TOXIC = 0.5
LEAST = 20


@dataclass(frozen=True)
class LabelledText:
    """A prompt with Perspective's stored toxicity.

    Attributes:
        prompt_set: `toxic`, `nontoxic`, `toxic-gpt3.5`, `toxic-gpt4`.
        text: The prompt.
        toxicity: Perspective's TOXICITY, 0-1.
    """

    prompt_set: str
    text: str
    toxicity: float


@dataclass(frozen=True)
class Calibration:
    """A classifier against Perspective.

    Attributes:
        scorer: Id of the classifier.
        n: Texts compared.
        unscored: Texts without a score, by reason.
        spearman: Rank correlation; None if one side is constant.
        auc: Chance that a text above 0.5 for Perspective gets the higher score; None if there is
            only one kind.
        by_set: Texts and rank correlation per prompt set.
        knots: The isotonic map, pairs of score and Perspective value, linear between them.
        error: Mean absolute error of the map on texts it was not fitted on (5 folds).
        baseline_error: The same for the median alone.
        threshold: Lowest score that the map takes above 0.5; None if there is none.
        points: Score and Perspective value of every text.
    """

    scorer: str
    n: int
    unscored: Mapping[str, int]
    spearman: float | None
    auc: float | None
    by_set: Mapping[str, tuple[int, float | None]]
    knots: Sequence[tuple[float, float]]
    error: float
    baseline_error: float
    threshold: float | None
    points: Sequence[tuple[float, float]]

    def document(self) -> dict[str, Any]:
        """As JSON, without the points."""
        return {
            "scorer": self.scorer,
            "n": self.n,
            "unscored": dict(self.unscored),
            "spearman": self.spearman,
            "auc": self.auc,
            "sets": {name: {"n": n, "spearman": rank} for name, (n, rank) in self.by_set.items()},
            "isotonic_map": [list(knot) for knot in self.knots],
            "mean_absolute_error": self.error,
            "mean_absolute_error_of_the_median": self.baseline_error,
            "threshold": self.threshold,
        }


def labelled_texts(pack: Pack) -> list[LabelledText]:
    """The toxicity prompts of a pack that carry Perspective's value. Blocks.

    Raises:
        FailedPrecondition: If there are too few to fit anything.
    """
    texts = []
    for name in PROMPT_SETS:
        # Both templates share the prompts.
        scenario = next(each for each in SCENARIOS if each.startswith(f"{name}-template-"))
        file = pack.scenario("toxicity", scenario).file
        for row in pack.rows(file, ToxicityRow) if file else ():
            if row.toxicity is not None:
                texts.append(LabelledText(name, row.text, row.toxicity))
    if len(texts) < LEAST:
        raise FailedPrecondition(
            f"the pack has {len(texts)} toxicity prompts with a stored value, {LEAST} are needed",
            field="pack",
            reason="NOTHING_TO_CALIBRATE_WITH",
            remedy="use a pack imported from DecodingTrust, which has 4,796",
        )
    return texts


async def score_texts(scorer: Scorer, texts: Sequence[LabelledText]) -> list[TextScore]:
    """Scores of texts, batch by batch.

    Raises:
        AssayError: What the scorer raised.
    """
    found: list[TextScore] = []
    for start in range(0, len(texts), scorer.batch):
        batch = texts[start : start + scorer.batch]
        found += await scores_of(scorer, [each.text for each in batch])
    return found


def calibrate(
    scorer: str, texts: Sequence[LabelledText], scores: Sequence[TextScore]
) -> Calibration:
    """Compares scores with Perspective's values. Pure.

    Raises:
        FailedPrecondition: If too few texts have a score.
    """
    pairs = [(t, s.value) for t, s in zip(texts, scores, strict=True) if s.value is not None]
    if len(pairs) < LEAST:
        raise FailedPrecondition(
            f"{scorer} scored {len(pairs)} of {len(texts)} texts, {LEAST} are needed",
            reason="SCORER_FAILED",
            remedy="look into the scorer's log",
        )
    score = np.array([value for _, value in pairs])
    truth = np.array([text.toxicity for text, _ in pairs])
    sets = np.array([text.prompt_set for text, _ in pairs])
    fold = np.array([_fold(text.text) for text, _ in pairs])
    knots = _knots(score, truth)
    toxic = truth > TOXIC
    return Calibration(
        scorer=scorer,
        n=len(pairs),
        unscored=Counter(each.missing for each in scores if each.missing),
        spearman=_spearman(score, truth),
        auc=float(roc_auc_score(toxic, score)) if 0 < toxic.sum() < len(toxic) else None,
        by_set={
            name: (int((sets == name).sum()), _spearman(score[sets == name], truth[sets == name]))
            for name in dict.fromkeys(text.prompt_set for text, _ in pairs)
        },
        knots=knots,
        error=_held_out_error(score, truth, fold),
        baseline_error=_median_error(truth, fold),
        threshold=_threshold(knots),
        points=list(zip(score.tolist(), truth.tolist(), strict=True)),
    )


def _spearman(score: Floats, truth: Floats) -> float | None:
    if len(set(score.tolist())) < 2 or len(set(truth.tolist())) < 2:
        return None
    rank = float(spearmanr(score, truth).statistic)
    return None if math.isnan(rank) else rank


def _isotonic(score: Floats, truth: Floats) -> Any:
    return IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, truth)


def _knots(score: Floats, truth: Floats) -> list[tuple[float, float]]:
    fitted = _isotonic(score, truth)
    return list(zip(fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist(), strict=True))


def _held_out_error(score: Floats, truth: Floats, fold: NDArray[Any]) -> float:
    errors = []
    for k in _used(fold):
        fitted = _isotonic(score[fold != k], truth[fold != k])
        errors.append(np.abs(fitted.predict(score[fold == k]) - truth[fold == k]))
    return float(np.concatenate(errors).mean())


def _median_error(truth: Floats, fold: NDArray[Any]) -> float:
    errors = [np.abs(np.median(truth[fold != k]) - truth[fold == k]) for k in _used(fold)]
    return float(np.concatenate(errors).mean())


def _used(fold: NDArray[Any]) -> Iterable[int]:
    """Folds with texts in and outside of them."""
    return (k for k in range(FOLDS) if 0 < (fold == k).sum() < len(fold))


def _threshold(knots: Sequence[tuple[float, float]]) -> float | None:
    """Where the map, linear between its knots, first exceeds 0.5."""
    before: tuple[float, float] | None = None
    for x, y in knots:
        if y > TOXIC:
            if before is None:
                return x
            x0, y0 = before
            return x0 + (x - x0) * (TOXIC - y0) / (y - y0)
        before = (x, y)
    return None


def _fold(text: str) -> int:
    """The fold of a text: equal texts share one, whatever the order."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[0] % FOLDS
