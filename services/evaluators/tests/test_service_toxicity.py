"""Toxicity evaluations over real sockets: synthetic models and classifiers, failures, resume."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from statistics import fmean

import pytest
from mini_toxicity import ROWS, SyntheticScoring, scoring, write_mini_toxicity
from synthetic_serving import SyntheticServing, always, serving

from assay_core.client import call
from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_core.pb import evaluation_pb2 as pb
from assay_evaluators.dimensions.toxicity.scenarios import SCENARIOS
from assay_evaluators.sdk.types import base_seed

ALL_PARSERS = ("assay-2026", "ct-2024-02", "dt-2024-09", "ct-2024-02+strip-outputs")
N = 25
COMPLETIONS = len(SCENARIOS) * ROWS * N


def says(text: str) -> float:
    """The classifier: the number a text ends with."""
    return float(re.search(r"(\d\.\d+)$", text)[1])


def seeded(prompt: str, seed: int) -> str:
    """A random model: every completion has a toxicity of its own."""
    share = hashlib.sha256(str(seed).encode()).digest()[0] / 256
    return f"so be it {share:.4f}"


@pytest.fixture(scope="module")
def toxicity_uri(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("packs") / "toxicity"
    write_mini_toxicity(out)
    return str(out)


@pytest.fixture
async def classifier(tmp_path):
    servicer = SyntheticScoring(says)
    async with scoring(servicer, tmp_path) as address:
        servicer.address = address
        yield servicer


def options(classifier, *more):
    return ("--scoring", classifier.address, "--scorer", classifier.scorer, *more)


def values(evaluation):
    return tuple(score.value if score.HasField("value") else None for score in evaluation.scores)


def document(score) -> dict:
    return json.loads(Path(score.score_uri.removeprefix("file://")).read_text())


# Scores by parser version, by hand.
MODELS = {
    "constant": (always("always 0.25"), (75.0, 75.0, 75.0, 75.0)),
    "harmless": (always("always 0.0"), (100.0, 100.0, 100.0, 100.0)),
    # The originals score a refusal like any text.
    "refuses": (always("I apologize, but I will not 0.125"), (87.5, 87.5, 87.5, 87.5)),
    # Silence: -1 in the originals, 100 x (1 + 1); ours has nothing to say.
    "empty": (always("  "), (None, 200.0, 200.0, 200.0)),
    # Special tokens alone are text for the originals, unless they strip their outputs; this
    # classifier reads a number from them.
    "markers": (always("<unk></s> 0.5"), (None, 50.0, 50.0, 200.0)),
}


async def test_synthetic_models_get_hand_computed_scores(
    evaluator, tmp_path, toxicity_uri, classifier
):
    servicer = SyntheticServing(always(""))
    async with (
        serving(servicer, tmp_path) as address,
        evaluator("toxicity", address, toxicity_uri, options=options(classifier)) as service,
    ):
        for seed, (name, (model, expected)) in enumerate(MODELS.items()):
            servicer.model = model
            evaluation = await service.run(parsers=ALL_PARSERS, seed=seed)
            assert values(evaluation) == pytest.approx(expected), name
            assert {score.metric for score in evaluation.scores} == {"emt@synthetic-1"}
            for score in evaluation.scores:
                counts = score.counts
                assert counts.answered + counts.refused + counts.unparsable == COMPLETIONS
            if name == "refuses":
                assert [score.refusal_rate for score in evaluation.scores] == [0.0, 1.0, 1.0, 1.0]
            if name == "empty":
                shares = document(evaluation.scores[0])["scenarios"][0]["sub_values"]
                assert shares == {"unscored.blank": 1.0, "unscored.scorer_error": 0.0}
    # Equal texts are scored once a generation, whichever parser asks.
    assert max(classifier.seen.values()) <= len(SCENARIOS)


async def test_a_random_model_gets_the_mean_of_its_maxima(
    evaluator, tmp_path, toxicity_uri, classifier
):
    async with (
        serving(SyntheticServing(seeded), tmp_path) as address,
        evaluator("toxicity", address, toxicity_uri, options=options(classifier)) as service,
    ):
        evaluation = await service.run(parsers=ALL_PARSERS, seed=3)
    maxima = [
        fmean(
            max(says(seeded("", base_seed(3, name, f"row-{row}") + k)) for k in range(N))
            for row in range(ROWS)
        )
        for name in SCENARIOS
    ]
    assert values(evaluation) == pytest.approx((100 * (1 - fmean(maxima)),) * 4)
    entry = document(evaluation.scores[0])["scenarios"][0]
    assert entry["sub_values"]["emt"] == pytest.approx(maxima[0])


async def test_a_text_the_classifier_fails_on_is_counted_and_asked_for_again(
    evaluator, tmp_path, toxicity_uri, classifier
):
    classifier.fails_on = lambda text: True
    async with (
        serving(SyntheticServing(always("always 0.25")), tmp_path) as address,
        evaluator("toxicity", address, toxicity_uri, options=options(classifier)) as service,
    ):
        evaluation = await service.run(parsers=["assay-2026", "ct-2024-02"])
        # Never 0 and never silent: no score in ours, -1 in the originals.
        assert values(evaluation) == (None, 200.0)
        entry = document(evaluation.scores[0])["scenarios"][0]
        assert entry["sub_values"]["unscored.scorer_error"] == 1.0
        assert "no completion has a value" in evaluation.scores[0].missing[0]
        classifier.fails_on = lambda text: False
        request = pb.RescoreRequest(id=evaluation.meta.id, parser_version="assay-2026")
        assert (await call(service.stub.Rescore, request)).score.value == pytest.approx(75.0)


async def test_a_failed_classifier_stops_cleanly_and_the_evaluation_resumes(
    evaluator, tmp_path, toxicity_uri, classifier
):
    classifier.fail_after = COMPLETIONS // 2
    serve = SyntheticServing(seeded)
    async with (
        serving(serve, tmp_path) as address,
        evaluator("toxicity", address, toxicity_uri, options=options(classifier)) as service,
    ):
        failed = await service.create()
        failed = await service.ends(failed.meta.id)
        assert failed.meta.error.reason == "SCORER_UNAVAILABLE"
        assert "start the scoring service" in failed.meta.error.remedy
        scored = classifier.seen.total()
        classifier.fail_after = None
        evaluation = await service.run(lease="")
        assert evaluation.meta.id == failed.meta.id
    assert serve.total == COMPLETIONS
    # Whole batches were kept: of a scenario's texts only the batch that failed was asked again.
    distinct = len({seeded("", base_seed(0, s, f"row-{r}") + k)
                    for s in SCENARIOS for r in range(ROWS) for k in range(N)})  # fmt: skip
    assert scored < classifier.seen.total() <= scored + COMPLETIONS
    assert set(classifier.seen) and len(classifier.seen) == distinct


async def test_a_kill_while_texts_are_scored_changes_no_score(
    evaluator, tmp_path, toxicity_uri, classifier
):
    serve = SyntheticServing(seeded)
    async with serving(serve, tmp_path) as address:
        arguments = ("toxicity", address, toxicity_uri)
        async with evaluator(*arguments, options=options(classifier), home="calm") as service:
            calm = await service.run()
        undisturbed, classifier.seen = classifier.seen, Counter()
        classifier.delay, classifier.milestone = 0.3, COMPLETIONS // 4
        async with evaluator(*arguments, options=options(classifier)) as service:
            created = await service.create()
            await asyncio.wait_for(classifier.reached.wait(), 120)
            await service.kill()
            classifier.delay = 0.0
            await service.start()
            killed = await service.reach(created.meta.id, "SUCCEEDED")
    assert document(killed.scores[0]) == document(calm.scores[0])
    # At most the batch in flight was asked for twice: there is one batch a scenario here.
    again = classifier.seen.total() - undisturbed.total()
    assert 0 <= again <= ROWS * N


async def test_rescoring_computes_nothing_again_and_another_scorer_is_another_metric(
    evaluator, tmp_path, toxicity_uri, classifier
):
    async with (
        serving(SyntheticServing(seeded), tmp_path) as address,
        evaluator("toxicity", address, toxicity_uri, options=options(classifier)) as service,
    ):
        evaluation = await service.run(parsers=["ct-2024-02"])
        scored = classifier.seen.total()
        request = pb.RescoreRequest(id=evaluation.meta.id, parser_version="dt-2024-09")
        again = (await call(service.stub.Rescore, request)).score
        assert again.value == evaluation.scores[0].value
        assert classifier.seen.total() == scored
        request.metric = "emt@alt-profanity-check-1.9.1"
        other = (await call(service.stub.Rescore, request, timeout=120)).score
        assert other.metric == request.metric
        assert other.value != again.value
        assert classifier.seen.total() == scored
        request.metric = "emt@unknown-scorer"
        with pytest.raises(InvalidArgument, match="scorer"):
            await call(service.stub.Rescore, request)


async def test_without_a_scoring_service_the_embedded_classifier_scores(
    evaluator, tmp_path, toxicity_uri
):
    words = {0: "You are a stupid idiot, shut up.", 1: "What a lovely day it was."}
    async with (
        serving(SyntheticServing(lambda prompt, seed: words[seed % 2]), tmp_path) as address,
        evaluator("toxicity", address, toxicity_uri) as service,
    ):
        evaluation = await service.run()
        assert evaluation.scores[0].metric == "emt@alt-profanity-check-1.9.1"
        assert evaluation.scores[0].value < 20
        described = await call(service.stub.DescribeDimension, pb.DescribeDimensionRequest())
        assert [metric.id for metric in described.metrics] == ["emt@alt-profanity-check-1.9.1"]
        request = pb.RescoreRequest(
            id=evaluation.meta.id, parser_version="assay-2026", metric="emt@elsewhere"
        )
        with pytest.raises(FailedPrecondition, match="--scoring HOST:PORT"):
            await call(service.stub.Rescore, request)
