"""Checkpoints: the same numbers as transformers' own pipeline, and what is refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoint import write_checkpoint
from transformers import pipeline

from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound
from assay_scoring.checkpoint import Checkpoint, choose_device
from assay_scoring.settings import CheckpointSettings

CPU = torch.device("cpu")
TEXTS = ["you are a fool", "a", "good friend", "you fool you fool you fool", "bad", "unknown words"]


def load(folder, **settings):
    return Checkpoint("x", CheckpointSettings(path=str(folder), **settings), CPU, 64)


def reference(folder, label, texts, function):
    classify = pipeline("text-classification", model=str(folder), top_k=None, device="cpu")
    found = classify(texts, function_to_apply=function, truncation=True)
    return [next(e["score"] for e in each if e["label"] == label) for each in found]


def test_independent_labels_are_sigmoids_of_the_label_named_toxicity(multi_label):
    expected = reference(multi_label, "toxicity", TEXTS, "sigmoid")
    assert load(multi_label).score(TEXTS) == pytest.approx(expected, abs=1e-6)
    assert len({round(value, 4) for value in expected}) > 3


def test_classes_are_a_softmax_and_toxic_is_found_by_name(two_classes):
    expected = reference(two_classes, "toxic", TEXTS, "softmax")
    assert load(two_classes).score(TEXTS) == pytest.approx(expected, abs=1e-6)


def test_label_and_activation_can_be_named(multi_label):
    expected = reference(multi_label, "threat", TEXTS, "softmax")
    found = load(multi_label, label="THREAT", activation="softmax").score(TEXTS)
    assert found == pytest.approx(expected, abs=1e-6)


def test_scores_do_not_depend_on_the_batch(multi_label):
    checkpoint = load(multi_label)
    alone = [checkpoint.score([text])[0] for text in TEXTS]
    assert checkpoint.score(TEXTS * 5) == pytest.approx(alone * 5, abs=1e-5)


def test_a_text_longer_than_the_model_takes_is_cut(multi_label):
    checkpoint = load(multi_label)
    cut = checkpoint.score(["you are a fool " * 500])[0]
    # 30 words and the two special tokens fill 32 positions.
    assert cut == pytest.approx(checkpoint.score(["you are a fool " * 7 + "you are"])[0], abs=1e-5)


def test_a_text_the_model_fails_on_has_no_score_and_harms_no_other(multi_label, monkeypatch):
    checkpoint = load(multi_label)
    expected = checkpoint.score(TEXTS)
    forward = checkpoint._model.forward
    fool = checkpoint._tokenizer.convert_tokens_to_ids("fool")

    def out_of_memory(input_ids, **kwargs):
        if (input_ids == fool).any():
            raise torch.OutOfMemoryError("no memory")
        return forward(input_ids, **kwargs)

    monkeypatch.setattr(checkpoint._model, "forward", out_of_memory)
    found = checkpoint.score(TEXTS)
    for text, value, before in zip(TEXTS, found, expected, strict=True):
        if "fool" in text:
            assert value is None
        else:
            assert value == pytest.approx(before, abs=1e-5)


def test_other_weights_are_another_scorer(multi_label, tmp_path):
    first = load(multi_label)
    assert first.id.startswith("x-")
    assert load(multi_label).id == first.id
    changed = write_checkpoint(
        tmp_path / "changed",
        labels=["insult", "toxicity", "threat"],
        problem_type="multi_label_classification",
        seed=7,
    )
    assert load(changed).id != first.id


def test_the_licence_is_the_model_cards(two_classes, tmp_path):
    assert load(two_classes).licence == ""
    (two_classes / "README.md").write_text("---\nlicense: apache-2.0\n---\nlicense: mit\n")
    assert load(two_classes).licence == "apache-2.0"
    assert load(two_classes, licence="own").licence == "own"


def test_a_checkpoint_without_a_toxic_label_must_be_told_which(tmp_path):
    folder = write_checkpoint(
        tmp_path / "stars", labels=["one", "two"], problem_type="single_label_classification"
    )
    with pytest.raises(InvalidArgument, match=r"checkpoints\.x\.label.*one, two"):
        load(folder)
    assert load(folder, label="two").score(["a"])[0] is not None


def test_pickled_weights_are_not_read(multi_label, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    for path in multi_label.iterdir():
        if path.suffix != ".safetensors":
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(NotFound, match="no config"):
        load(folder)


def test_what_is_no_classifier_is_refused(multi_label, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in multi_label.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(FailedPrecondition, match="cannot be loaded"):
        load(folder)


def test_a_checkpoint_without_its_classifier_is_refused_and_not_filled_with_noise(
    multi_label, tmp_path
):
    folder = tmp_path / "headless"
    folder.mkdir()
    for path in multi_label.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if not key.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FailedPrecondition, match="2 of its weights are missing"):
        load(folder)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(NotFound, match="checkpoint x"):
        load(tmp_path / "nowhere")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_refused_and_auto_takes_what_there_is():
    assert choose_device("auto") == CPU
    with pytest.raises(FailedPrecondition, match="cuda:1"):
        choose_device("cuda:1")
