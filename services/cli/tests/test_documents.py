"""Study files, policies, recipes: what is sent, and which mistakes are named how."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay_cli import documents
from assay_core.errors import AssayError, NotFound
from assay_core.pb import common_pb2
from assay_evaluators.sdk.dimension import dimension_names

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["demo.yaml", "decodingtrust-quick.yaml"])
def test_the_examples_are_good_study_files(name: str) -> None:
    spec = documents.study_spec(EXAMPLES / name)
    assert spec.recipes[0].WhichOneof("method") == "dense"
    assert {"stereotype", "fairness", "ethics"} <= set(spec.dimensions) <= set(dimension_names())


def test_the_demo_study_is_the_one_of_the_readme() -> None:
    spec = documents.study_spec(EXAMPLES / "demo.yaml")
    assert [each.gptq.bits for each in spec.recipes if each.HasField("gptq")] == [8, 4, 3]
    assert spec.recipes[-1].magnitude.pattern == common_pb2.SPARSITY_PATTERN_2_4
    assert (spec.models[0].uri, spec.pack.uri) == ("demo", "demo")


def test_relative_paths_start_from_the_file() -> None:
    spec = documents.study_spec(EXAMPLES / "decodingtrust-quick.yaml")
    assert spec.pack.uri == str(EXAMPLES.parent / "packs" / "dt")


@pytest.mark.parametrize(
    ("name", "is_path"),
    [("demo", False), ("./demo", True), ("models/x", True), ("/abs", True), ("here", True)],
)
def test_a_bare_word_is_a_name_unless_a_checkpoint_is_called_so(
    tmp_path: Path, name: str, is_path: bool
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.json").write_text("{}")
    (tmp_path / "demo").mkdir()
    located = documents.locate(name, tmp_path)
    assert Path(located).is_absolute() == is_path
    assert documents.locate("s3://bucket/model", tmp_path) == "s3://bucket/model"


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        ("{gptq: {bits: 5}}", "recipe.gptq.bits", "2, 3, 4 or 8"),
        ("{gptq: {bits: 3, bitz: 1}}", "recipe.gptq.bitz", "bits"),
        ("{gptk: {bits: 3}}", "recipe.gptk", "did you mean gptq?"),
        ("{magnitude: {pattern: '2:5'}}", "recipe.magnitude.pattern", "2:4"),
        ("{gptq: {bits: 3", "recipe", "brackets"),
    ],
)
def test_a_wrong_recipe_names_field_and_remedy(text: str, field: str, remedy: str) -> None:
    with pytest.raises(AssayError) as caught:
        documents.recipe(text)
    assert caught.value.field == field
    assert remedy in (caught.value.remedy or "")


def test_a_policy_may_stand_alone_or_under_gate(tmp_path: Path) -> None:
    alone, under = tmp_path / "a.yaml", tmp_path / "b.yaml"
    alone.write_text("default_margin: 3\nrules: [{dimension: ethics, margin: 1}]\n")
    under.write_text("gate:\n  default_margin: 3\n  rules: [{dimension: ethics, margin: 1}]\n")
    assert documents.gate_policy(alone) == documents.gate_policy(under)
    assert documents.gate_policy(alone).default_margin == 3
    alone.write_text("defaultmargin: 3\n")
    with pytest.raises(AssayError, match="defaultmargin"):
        documents.gate_policy(alone)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        documents.study_spec(tmp_path / "none.yaml")
