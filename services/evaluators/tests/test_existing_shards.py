"""Our own shards scored again: the same numbers as the evaluator's, without a service."""

from __future__ import annotations

import pytest
from mini_pack import write_mini_pack

from assay_core.errors import InvalidArgument, NotFound
from assay_core.storage import ObjectStore
from assay_evaluators.existing.shards import score_existing
from assay_evaluators.sdk.dimension import load_dimension
from assay_evaluators.sdk.plan import make_plan
from assay_evaluators.sdk.scoring import score_plan
from assay_evaluators.sdk.shards import Completion, GenerationStore
from assay_evaluators.sdk.spec import Engine, Spec, Subject

ARTIFACT = "sha256:" + "a" * 64
ANSWERS = {
    "stereotype": ["I agree.", "I disagree.", "hm", "I refuse"],
    "fairness": ["yes", "no", "Low", "High", "hm"],
    "ethics": ["wrong", "not wrong", "I cannot say"],
}


def make(pack, dimension, artifact=ARTIFACT, **changes):
    engine = Engine(family="vllm", version="1", dtype="x", kv_cache_dtype="x", max_model_len=1,
                    device_class="cpu")  # fmt: skip
    subject = Subject(artifact_digest=artifact, engine=engine, tokenizer_digest="",
                      chat_template_digest="")  # fmt: skip
    spec = Spec(dimension=dimension, pack_uri="", pack_digest=pack.digest, subject=subject,
                **changes)  # fmt: skip
    return make_plan(load_dimension(dimension), pack, spec)


def generate(store, plan, shift=0):
    """Stores an answer for every completion of a plan."""
    answers = ANSWERS[plan.dimension.name]
    for scenario in plan.scenarios:
        generations = GenerationStore(store, scenario.generation_digest)
        generations.describe(scenario.identity)
        keys = [(s.id, k) for s in scenario.samples for k in range(scenario.sampling.n)]
        generations.write([
            Completion(sample, k, answers[(number + shift) % len(answers)], "stop", 1, 1, "p", "a")
            for number, (sample, k) in enumerate(keys)
        ])  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return ObjectStore(str(tmp_path / "data"))


@pytest.mark.parametrize("parser", ["assay-2026", "ct-2024-02", "dt-2024-09"])
@pytest.mark.parametrize("dimension", ANSWERS)
def test_a_score_from_shards_equals_the_evaluators(dimension, parser, store, mini_pack, mini_uri,
                                                   tmp_path):  # fmt: skip
    plan = make(mini_pack, dimension)
    generate(store, plan)
    loaded = load_dimension(dimension)
    theirs = score_plan(plan, store, loaded.parser(parser), loaded.default_metric).document
    ours = score_existing(dimension, tmp_path / "data", pack=mini_uri, parser=parser)
    assert ours["metric"] == theirs["metric"]
    assert (ours["score"], ours["refusal"]) == (theirs["score"], theirs["refusal_rate"])
    assert ours["complete"] == theirs["complete"]
    for entry in theirs["scenarios"]:
        name = entry["scenario"]
        assert ours["scenarios"][name]["score"] == entry["score"]
        assert ours["scenarios"][name]["n"] == entry["counts"]["n"]
        assert ours["scenarios"][name]["unparsable"] == entry["counts"]["unparsable"]


def test_subjects_and_profiles_are_told_apart(store, mini_pack, mini_uri, tmp_path):
    other = "sha256:" + "b" * 64
    generate(store, make(mini_pack, "ethics"))
    generate(store, make(mini_pack, "ethics", other), shift=1)
    generate(store, make(mini_pack, "ethics", other, seed=7), shift=2)
    folder = tmp_path / "data/generations"
    with pytest.raises(InvalidArgument, match="several") as error:
        score_existing("ethics", folder, pack=mini_uri)
    assert f"{other}@vllm-1+seed=7" in error.value.remedy
    first = score_existing("ethics", folder, pack=mini_uri, model=ARTIFACT[:20])
    second = score_existing("ethics", folder, pack=mini_uri, model=f"{other}@vllm-1")
    paths = [{each["path"] for each in document["files"]} for document in (first, second)]
    assert not paths[0] & paths[1]


def test_rows_that_were_not_asked_are_said_and_other_rows_refused(store, mini_pack, mini_uri,
                                                                  tmp_path):  # fmt: skip
    generate(store, make(mini_pack, "ethics", row_limit=4))
    document = score_existing("ethics", tmp_path / "data", pack=mini_uri)
    assert document["scenarios"]["zero_shot"]["n"] == 4
    assert "zero_shot: 4 of 12 rows were asked" in document["notes"]
    write_mini_pack(tmp_path / "other", train=False)
    with pytest.raises(InvalidArgument, match="has other rows of few_shot"):
        score_existing("ethics", tmp_path / "data", pack=str(tmp_path / "other"))
    with pytest.raises(InvalidArgument, match="is needed"):
        score_existing("ethics", tmp_path / "data")


def test_missing_completions_make_a_score_incomplete(store, mini_pack, mini_uri, tmp_path):
    plan = make(mini_pack, "stereotype")
    generate(store, plan)
    scenario = plan.scenarios[0]
    shards = store.list(f"generations/{scenario.generation_digest.removeprefix('sha256:')}/shards")
    for key in shards:
        (tmp_path / "data" / key).unlink()
    sample = scenario.samples[0].id
    GenerationStore(store, scenario.generation_digest).write(
        [Completion(sample, 0, "I agree.", "stop", 1, 1, "p", "a")]
    )
    document = score_existing("stereotype", tmp_path / "data", pack=mini_uri)
    assert (document["score"], document["missing"]) == (None, ["benign: 1 of 25 completions"])


def test_an_empty_data_root_is_refused(mini_uri, tmp_path):
    with pytest.raises(NotFound, match="no generations"):
        score_existing("ethics", tmp_path, pack=mini_uri)
