"""Stored classifier scores: asked once, resumed after failures, blank and broken never scored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_toxicity import write_mini_toxicity
from test_decodingtrust import plan

from assay_core.errors import DataLoss, FailedPrecondition, Unavailable
from assay_core.storage import ObjectStore
from assay_evaluators.packs.loading import Pack
from assay_evaluators.scorers import embedded
from assay_evaluators.scorers.embedded import EmbeddedScorer
from assay_evaluators.scorers.registry import Scorers
from assay_evaluators.sdk.scoring import score_plan
from assay_evaluators.sdk.shards import OVERLENGTH, Completion, GenerationStore
from assay_evaluators.sdk.text_scores import TextScoreStore, checked, score_missing, text_digest
from assay_evaluators.sdk.types import TextScore

SCENARIO = "toxic-template-0"


class Classifier:
    """Gives every text its length in per cent; fails after a number of batches."""

    id = "length"
    batch = 10

    def __init__(self, batches: int = 1000):
        self.left = batches
        self.asked: list[str] = []

    async def score(self, texts):
        if not self.left:
            raise Unavailable("gone")
        self.left -= 1
        self.asked += texts
        return [checked(len(text) / 100) for text in texts]


@pytest.fixture
def planned(tmp_path):
    write_mini_toxicity(tmp_path / "pack")
    return plan(Pack.open(str(tmp_path / "pack")), "toxicity", (SCENARIO,))


@pytest.fixture
def store(tmp_path):
    return ObjectStore((tmp_path / "data").as_uri())


def write(planned, store, text_of, finish="stop"):
    (scenario,) = planned.scenarios
    GenerationStore(store, scenario.generation_digest).write([
        Completion(sample.id, k, text_of(row, k), finish, 1, 1, "", "")
        for row, sample in enumerate(scenario.samples) for k in range(25)
    ])  # fmt: skip


def scores(planned, store, scorer="length"):
    return TextScoreStore(store, scorer, planned.scenarios[0].generation_digest)


async def fill(planned, store, classifier, text_of=str):
    counts = []

    async def count(texts):
        counts.append(texts)

    await score_missing(planned, store, text_of, classifier, count)
    return counts


async def test_equal_texts_are_asked_once_and_nothing_is_asked_twice(planned, store):
    write(planned, store, lambda row, k: f"text {k % 3}")
    classifier = Classifier()
    assert await fill(planned, store, classifier) == [3]
    assert sorted(classifier.asked) == ["text 0", "text 1", "text 2"]
    assert await fill(planned, store, classifier) == []
    assert scores(planned, store).read()[text_digest("text 0")] == TextScore(0.06)


async def test_what_is_scored_is_what_the_parser_names(planned, store):
    write(planned, store, lambda row, k: "said</s>junk")
    classifier = Classifier()
    await fill(planned, store, classifier, lambda text: text.split("</s>")[0])
    assert classifier.asked == ["said"]


async def test_blank_and_overlength_are_never_asked(planned, store):
    write(planned, store, lambda row, k: " \n" if k else "")
    classifier = Classifier()
    await fill(planned, store, classifier)
    assert classifier.asked == []
    assert set(scores(planned, store).read().values()) == {TextScore(None, "blank")}


async def test_overlength_has_no_text_to_score(planned, store):
    write(planned, store, lambda row, k: "", finish=OVERLENGTH)
    await fill(planned, store, Classifier())
    assert scores(planned, store).read() == {}


async def test_whole_batches_survive_a_failure_and_the_rest_is_asked_after_it(planned, store):
    write(planned, store, lambda row, k: f"{row} {k}")
    failing = Classifier(batches=3)
    with pytest.raises(Unavailable):
        await fill(planned, store, failing)
    assert len(scores(planned, store).read()) == 30
    classifier = Classifier()
    assert sum(await fill(planned, store, classifier)) == 70
    assert not set(failing.asked) & set(classifier.asked)


async def test_a_text_that_failed_is_asked_again_and_a_value_beats_the_failure(planned, store):
    write(planned, store, lambda row, k: "text")
    kept = scores(planned, store)
    kept.write({text_digest("text"): TextScore(None, "scorer_error")})
    classifier = Classifier()
    await fill(planned, store, classifier)
    assert classifier.asked == ["text"]
    kept.write({text_digest("text"): TextScore(None, "scorer_error")})
    assert kept.read()[text_digest("text")] == TextScore(0.04)


async def test_scorers_do_not_share_scores(planned, store):
    write(planned, store, lambda row, k: "text")
    await fill(planned, store, Classifier())
    assert scores(planned, store, "another").read() == {}


async def test_completions_of_a_larger_run_are_left_alone(planned, store):
    (scenario,) = planned.scenarios
    GenerationStore(store, scenario.generation_digest).write(
        [Completion("row-of-a-larger-limit", 0, "other", "stop", 1, 1, "", ""),
         Completion(scenario.samples[0].id, 25, "beyond n", "stop", 1, 1, "", "")]
    )  # fmt: skip
    classifier = Classifier()
    await fill(planned, store, classifier)
    assert classifier.asked == []


async def test_a_plan_without_scores_is_not_scored_as_if_it_had_some(planned, store):
    write(planned, store, lambda row, k: "text")
    dimension = planned.dimension
    metric, parser = dimension.metric("emt@length"), dimension.parser("ct-2024-02")
    with pytest.raises(FailedPrecondition, match="100 completions of toxic-template-0 have no"):
        score_plan(planned, store, parser, metric)
    await fill(planned, store, Classifier())
    score = score_plan(planned, store, parser, metric).document["scenarios"][0]
    assert score["score"] == pytest.approx(96.0)


async def test_a_damaged_shard_is_named(planned, store):
    write(planned, store, lambda row, k: "text")
    await fill(planned, store, Classifier())
    kept = scores(planned, store)
    (key,) = store.list(kept._prefix)
    store.write_bytes(key, b"no parquet")
    with pytest.raises(DataLoss, match=key.rsplit("/", 1)[-1]):
        kept.read()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.5])
def test_what_is_no_probability_is_a_failure_and_never_a_low_score(value):
    assert checked(value) == TextScore(None, "scorer_error")


@given(st.text(st.characters()))
def test_every_text_has_a_key(text):
    assert len(text_digest(text)) == 32


# -- the embedded classifier --------------------------------------------------------------------
def test_the_embedded_classifier_tells_insults_from_pleasantries():
    harsh, mild = EmbeddedScorer().score_now(["you stupid idiot, shut up", "what a lovely day"])
    assert harsh.value > 0.9 > 0.1 > mild.value
    assert EmbeddedScorer().score_now([]) == []


def test_other_weights_than_those_known_are_never_loaded(monkeypatch):
    monkeypatch.setitem(embedded.FILES, "model.joblib", "sha256:" + "0" * 64)
    embedded._classifier.cache_clear()
    with pytest.raises(FailedPrecondition, match="other weights"):
        EmbeddedScorer().score_now(["text"])


def test_any_other_scorer_needs_a_scoring_service():
    assert Scorers(None).get(embedded.ID).id == embedded.ID
    with pytest.raises(FailedPrecondition, match="--scoring HOST:PORT"):
        Scorers(None).get("toxic-bert-1a2b3c4d")
