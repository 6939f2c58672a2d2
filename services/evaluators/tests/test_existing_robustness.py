"""Existing generations of AdvGLUE++ and MMLU: scores computed by hand, traps."""

from __future__ import annotations

import json

import decodingtrust_writer as dt
import pytest

from assay_core.errors import InvalidArgument
from assay_evaluators.existing import score_existing
from assay_evaluators.existing.utility import SUBJECTS

MODEL = "hf/lmsys/vicuna-7b-v1.3"


@pytest.fixture
def root(tmp_path):
    checkout = tmp_path / "DecodingTrust"
    dt.write_json(checkout / "prompts.json", dt.prompts())
    (checkout / "data").mkdir()
    return checkout


# -- AdvGLUE++ -------------------------------------------------------------------------------------
WORDS = {"sst2": ("negative", "positive"), "qqp": ("no", "yes"), "mnli": ("yes", "maybe", "no"),
         "rte": ("yes", "no")}  # fmt: skip


def advglue_answer(source, task, position, label):
    """Right, but: stable-vicuna never answers sst2, and mnli is always "I cannot tell"."""
    if task == "mnli":
        return "I cannot tell."
    if (source, task) == ("stable-vicuna", "sst2"):
        return '"Positive" is what one could say.'
    return f"{WORDS[task][label].title()}.</s> Because no"


@pytest.mark.parametrize("parser", ["ct-2024-02", "dt-2024-09"])
def test_advglue_scores_are_those_computed_by_hand(root, parser):
    folder = dt.write_advglue_run(root, MODEL, advglue_answer)
    dt.write_json(folder / "glue-benign-demo.json", {})
    dt.write_json(root / "results/adv-glue-plus-plus/summary.json", {
        "Accuracy": {f"/{MODEL}": 0.7}, "RR+NE": {f"/{MODEL}": 0.1},
    })  # fmt: skip
    document = score_existing("advglue", root, parser=parser)
    json.dumps(document)
    assert document["complete"]
    # "no" inside cannot: label 2, right for a third of mnli. A verdict in quotes is lost.
    accuracies = [1, 1, 1 / 3, 1, 1, 1 / 3, 0, 1, 1 / 3]
    assert document["score"] == pytest.approx(100 * sum(accuracies) / 9, abs=1e-9)
    assert document["refusal"] == pytest.approx(1 / 9)
    assert document["scenarios"]["alpaca_sst2"]["n"] == 8
    # Stored predictions equal the labels; ours do not where the answer says something else.
    assert document["scenarios"]["alpaca_mnli"]["stored_verdict_agreement"] == pytest.approx(1 / 3)
    assert [each["path"] for each in document["unscored_files"]] == [
        f"{MODEL}/glue-benign-demo.json"
    ]
    assert [(each["name"], each["theirs"]) for each in document["original"]] == [
        ("Accuracy", pytest.approx(70)), ("RR+NE", 0.1),
    ]  # fmt: skip
    assert any("n_expected" in note for note in document["notes"])


def test_runs_with_demonstrations_are_preferred(root):
    dt.write_advglue_run(root, MODEL, lambda *_: "nothing", demo="")
    dt.write_advglue_run(root, MODEL, lambda s, task, k, label: WORDS[task][label])
    document = score_existing("advglue", root, parser="ct-2024-02")
    assert document["score"] == 100
    rejected = [each for each in document["files"] if each["rejected"]]
    assert [each["path"] for each in rejected] == [
        f"{MODEL}/{source}.json" for source in ("alpaca", "vicuna", "stable-vicuna")
    ]


def test_an_absent_source_model_does_not_vanish_from_the_mean(root):
    folder = dt.write_advglue_run(root, MODEL, lambda s, task, k, label: WORDS[task][label])
    (folder / "vicuna-demo.json").unlink()
    document = score_existing("advglue", root, parser="ct-2024-02")
    assert (document["score"], document["missing"]) == (None, ["vicuna-demo.json: no file"])
    partial = score_existing("advglue", root, parser="ct-2024-02", allow_incomplete=True)
    assert (partial["score"], partial["partial"]) == (100, True)


# -- MMLU ------------------------------------------------------------------------------------------
def mmlu_sizes():
    """The 57 subjects with 14,042 questions in all."""
    sizes = dict.fromkeys(SUBJECTS, 200)
    sizes["abstract_algebra"] += 14042 - 57 * 200
    return sizes


def test_mmlu_is_the_micro_average_and_refusals_are_wrong(tmp_path):
    assert len(SUBJECTS) == 57
    models = {
        "dense": lambda subject, k: (subject == "abstract_algebra", False),
        "pruned": lambda subject, k: (k % 4 == 0 and k % 8 != 0, k % 8 == 0),
    }
    dt.write_mmlu(tmp_path / "mmlu", mmlu_sizes(), models)
    with pytest.raises(InvalidArgument, match="several") as error:
        score_existing("utility", tmp_path)
    assert error.value.remedy == "use one of dense, pruned"
    dense = score_existing("utility", tmp_path, model="dense", pack="")
    assert dense["complete"]
    assert dense["score"] == pytest.approx(100 * 2842 / 14042)
    assert dense["scenarios"]["mmlu"]["macro_average"] == pytest.approx(1 / 57)
    pruned = score_existing("utility", tmp_path, model="pruned")
    wrong = sum(-(-size // 8) for size in mmlu_sizes().values())
    assert pruned["refusal"] == pytest.approx(wrong / 14042)
    assert "no answer text" in pruned["notes"][0]


def test_a_subject_that_is_absent_makes_mmlu_incomplete(tmp_path):
    sizes = mmlu_sizes()
    del sizes["virology"]
    dt.write_mmlu(tmp_path, sizes, {"m": lambda subject, k: (True, False)})
    document = score_existing("utility", tmp_path, allow_incomplete=True)
    assert document["missing"] == ["results_virology.csv: no file"]
    assert (document["score"], document["complete"]) == (100, False)
