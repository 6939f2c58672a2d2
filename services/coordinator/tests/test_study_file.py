"""The study file: what is accepted, what is refused and with which words."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from assay_coordinator.domain.matrix import expand
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.domain.study_file import load_study, study_schema
from assay_coordinator.wire.study import spec_from_message, spec_message
from assay_core.errors import InvalidArgument

DEMO = """
name: demo
models: [demo]
recipes:
  - dense
  - gptq: {bits: [8, 4, 3]}
  - magnitude: {pattern: "2:4"}
dimensions: [stereotype, ethics, fairness]
pack: demo
row_limit: 20
gate: {default_margin: 3, require_utility: false}
"""


def refused(text):
    with pytest.raises(InvalidArgument) as caught:
        load_study(text)
    return caught.value


def test_a_list_of_values_is_one_recipe_each():
    spec = load_study(DEMO)
    assert [recipe.label() for recipe in spec.recipes] == [
        "dense",
        "gptq-8bit-g128",
        "gptq-4bit-g128",
        "gptq-3bit-g128",
        "magnitude-2:4",
    ]


def test_two_lists_are_every_combination():
    spec = load_study(DEMO.replace("{bits: [8, 4, 3]}", "{bits: [8, 4], group_size: [64, 128]}"))
    assert sum(recipe.name == "gptq" for recipe in spec.recipes) == 4


def test_json_is_read_as_well():
    document = {"name": "x", "models": ["demo"], "recipes": ["rtn"], "dimensions": ["ethics"]}
    error = refused(json.dumps(document))
    assert [violation.field for violation in error.violations] == ["recipes[0].rtn.bits", "pack"]
    assert load_study(json.dumps(document | {"pack": "demo", "recipes": ["dense"]})).name == "x"


def test_dense_is_added_because_the_others_compare_with_it():
    spec = load_study(DEMO.replace("  - dense\n", ""))
    assert spec.recipes[0].name == "dense"


def test_defaults_are_filled_in():
    spec = load_study(DEMO)
    assert spec.parser_versions == ("assay-2026",)
    assert spec.calibration_seeds == (0,)
    assert (spec.prompt_profile, spec.sampling_profile) == ("standard", "standard")
    assert spec.gate is not None
    assert spec.gate.margin_of("ethics") == 3


def test_a_spec_survives_its_stored_form():
    spec = load_study(DEMO)
    assert StudySpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ("{bits: [8, 5]}", "recipes[1].gptq.bits", "is 5"),
        ("{bitz: 4}", "recipes[1].gptq.bitz", "did you mean bits"),
        ("{bits: four}", "recipes[1].gptq.bits", "'four'"),
    ],
)
def test_a_wrong_recipe_names_its_field_and_what_is_allowed(wrong, field, words):
    error = refused(DEMO.replace("{bits: [8, 4, 3]}", wrong))
    described = {v.field: v.description for v in error.violations}
    assert field in described
    assert words in described[field]


def test_an_unknown_method_lists_the_known_ones():
    error = refused(DEMO.replace("gptq:", "gptk:"))
    assert error.field == "recipes[1].gptk"
    assert "did you mean gptq" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("row_limit: 20", "row_limit: -1", "row_limit"),
        ("row_limit: 20", "rowlimit: 20", "rowlimit"),
        ("models: [demo]", "models: []", "models"),
        ("models: [demo]", "models: [{uri: demo, name: x}]", "models[0].name"),
        ("dimensions: [stereotype", "dimensions: [Stereo-type", "dimensions[0]"),
        ("dimensions: [stereotype", "dimensions: [ethics", "dimensions"),
        ("default_margin: 3", "margins: 3", "gate.margins"),
        ("default_margin: 3", "default_margin: 0", "gate.default_margin"),
        ("default_margin: 3", "max_unparsable_shift: 0", "gate.max_unparsable_shift"),
        ("pack: demo", "pack: {uri: demo, digest: abc}", "pack.digest"),
        ("row_limit: 20", "calibration: {seed: 3}", "calibration.seed"),
        ("row_limit: 20", "prompt_profile: fancy", "prompt_profile"),
    ],
)
def test_every_wrong_field_is_named(old, new, field):
    assert old in DEMO
    assert field in [violation.field for violation in refused(DEMO.replace(old, new)).violations]


def test_all_wrong_fields_are_named_at_once():
    error = refused(DEMO.replace("bits: [8, 4, 3]", "bits: 5").replace("row_limit", "rows"))
    assert {violation.field for violation in error.violations} == {"recipes[1].gptq.bits", "rows"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: [", "line 1"),
        ("- a\n- b\n", "a list"),
        ("", "NoneType"),
        ("name: a\nname: b\n", "written twice"),
        ("!!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
    ],
)
def test_text_that_is_no_study_file_is_refused(text, words):
    assert words in str(refused(text))


def test_a_secret_looking_value_is_not_repeated():
    error = refused(DEMO.replace("pack: demo", "pack: [" + "s3cr3t" * 20 + "]"))
    assert "s3cr3t" not in str(error)


def test_the_matrix_starts_with_the_dense_parent_and_names_every_variant():
    spec = load_study(DEMO.replace("models: [demo]", "models: [a/demo, b/demo]"))
    variants = expand(spec)
    assert [variant.key for variant in variants[:3]] == [
        "demo/dense/seed0",
        "demo/gptq-8bit-g128/seed0",
        "demo/gptq-4bit-g128/seed0",
    ]
    assert variants[5].key == "demo-2/dense/seed0"
    assert all(variant.reference_key.endswith("dense/seed0") for variant in variants)
    assert variants[6].reference_key == "demo-2/dense/seed0"


def test_only_recipes_that_look_at_data_run_once_per_seed():
    spec = load_study(DEMO + "calibration_seeds: [0, 7]\n")
    keys = [variant.key for variant in expand(spec)]
    assert "demo/gptq-3bit-g128/seed7" in keys
    assert "demo/magnitude-2:4/seed7" not in keys
    assert len(keys) == 2 + 2 * 3
    seeds = {v.key: v.calibration.seed for v in expand(spec)}
    assert seeds["demo/gptq-3bit-g128/seed7"] == 7


def test_profile_paper_names_its_template_and_no_other_profile_does():
    paper = "prompt_profile: paper\n"
    spec = load_study(DEMO + paper + "paper_template: llama-2\n")
    assert spec.prompts_asked == "paper: llama-2"
    assert spec_from_message(spec_message(spec)) == spec
    assert load_study(DEMO).prompts_asked == "standard"
    for text in (paper, "paper_template: llama-2\n"):
        assert "paper_template goes with prompt_profile" in str(refused(DEMO + text))


def test_the_schema_describes_the_file():
    schema = study_schema()
    assert schema["additionalProperties"] is False
    gptq = next(
        item
        for item in schema["properties"]["recipes"]["items"]["anyOf"]
        if "gptq" in item.get("properties", {})
    )
    assert gptq["properties"]["gptq"]["properties"]["bits"]["anyOf"][1]["type"] == "array"
    text = json.dumps(schema)
    for reference in text.split('"#/$defs/')[1:]:
        assert reference.split('"')[0] in schema["$defs"]


EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_committed_schema_is_the_one_this_build_reads():
    """Written by `assay study schema > examples/study.schema.json`."""
    committed = json.loads((EXAMPLES / "study.schema.json").read_text())
    assert committed == json.loads(json.dumps(study_schema()))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_is_a_study_by_reader_and_schema(file):
    spec = load_study(file.read_text())
    assert expand(spec)
    jsonschema.Draft202012Validator(study_schema()).validate(yaml.safe_load(file.read_text()))


def test_the_schema_itself_is_valid():
    jsonschema.Draft202012Validator.check_schema(study_schema())


def test_a_preset_fills_in_what_the_file_leaves_out():
    text = "{name: x, models: [demo], recipes: [dense], pack: demo, preset: smoke, row_limit: 3}"
    spec = load_study(text)
    assert spec.dimensions == ("stereotype", "fairness", "ethics")
    assert spec.row_limit == 3


def test_an_unknown_preset_is_named():
    text = "{name: x, models: [demo], recipes: [dense], pack: demo, preset: fast, dimensions: a}"
    with pytest.raises(InvalidArgument) as refused:
        load_study(text)
    assert refused.value.field == "preset"
