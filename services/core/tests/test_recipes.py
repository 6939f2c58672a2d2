"""Recipes: one canonical form, exact round trips, and errors that name the field."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_core.errors import FieldViolation, InvalidArgument
from assay_core.pb import common_pb2
from assay_core.recipes import METHODS, Calibration, Recipe, variant_key
from assay_core.validation import validate

MODEL = "sha256:" + "a" * 64

groups = st.sampled_from([16, 32, 64, 128, 256])
shares = st.floats(0.001, 0.999)
damping = st.floats(1e-6, 1.0)
booleans = st.booleans()
pruning = st.one_of(
    st.fixed_dictionaries({}, optional={"sparsity": shares}),
    st.fixed_dictionaries({"pattern": st.sampled_from(["2:4", "4:8"])}),
)
parameters = {
    "dense": st.just({}),
    "gptq": st.fixed_dictionaries(
        {"bits": st.sampled_from([2, 3, 4, 8])},
        optional={
            "group_size": groups,
            "act_order": booleans,
            "damping": damping,
            "symmetric": booleans,
        },
    ),
    "awq": st.fixed_dictionaries(
        {"bits": st.sampled_from([3, 4, 8])}, optional={"group_size": groups}
    ),
    "rtn": st.fixed_dictionaries(
        {"bits": st.sampled_from([2, 3, 4, 8])},
        optional={"group_size": groups, "symmetric": booleans},
    ),
    "magnitude": pruning,
    "sparsegpt": st.builds(
        lambda a, b: a | b, pruning, st.fixed_dictionaries({}, optional={"damping": damping})
    ),
    "wanda": pruning,
    "noise": st.fixed_dictionaries({}, optional={"match_bits": st.sampled_from([3, 4, 8])}),
    "imported": st.fixed_dictionaries(
        {
            "digest": st.sampled_from("bcd").map(lambda digit: "sha256:" + digit * 64),
            "method": st.sampled_from(["gptq", "awq", "compressed-tensors", "dense"]),
        },
        optional={
            "bits": st.integers(0, 8),
            "group_size": st.integers(0, 256),
            "act_order": booleans,
            "symmetric": booleans,
        },
    ),
}
recipes = st.sampled_from(sorted(METHODS)).flatmap(
    lambda name: st.fixed_dictionaries(
        {name: parameters[name]},
        optional={
            "layout": st.sampled_from(["dense", "packed", "packed-gptq"]),
            "include_embeddings": booleans,
        },
    ).map(Recipe.parse)
)
calibrations = st.builds(
    Calibration,
    samples=st.integers(1, 4096),
    sequence_length=st.integers(1, 8192),
    seed=st.integers(0, 2**63 - 1),
    source=st.text(st.characters(codec="utf-8"), min_size=1, max_size=50),
)


def test_every_method_of_the_contract_is_known() -> None:
    of_contract = common_pb2.Recipe.DESCRIPTOR.oneofs_by_name["method"].fields
    assert set(METHODS) == {field.name for field in of_contract} == set(parameters)


@given(recipes)
def test_message_and_canonical_form_read_back_as_the_same_recipe(recipe: Recipe) -> None:
    message = recipe.to_proto()
    validate(message)
    assert Recipe.from_proto(common_pb2.Recipe.FromString(message.SerializeToString())) == recipe
    assert Recipe.parse(recipe.canonical()) == recipe


@given(calibrations)
def test_calibration_reads_back_as_the_same(calibration: Calibration) -> None:
    assert Calibration.from_proto(calibration.to_proto()) == calibration
    assert Calibration.parse(calibration.canonical()) == calibration


@given(recipes, recipes)
def test_labels_are_as_distinct_as_recipes(one: Recipe, other: Recipe) -> None:
    assert (one.label() == other.label()) is (one == other)


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("dense", "dense"),
        ({"gptq": {"bits": 4}}, "gptq-4bit-g128"),
        (
            {"gptq": {"bits": 3, "group_size": 64, "act_order": True, "symmetric": False}},
            "gptq-3bit-g64-actorder-asym",
        ),
        ({"awq": {"bits": 4}, "layout": "packed"}, "awq-4bit-g128-packed"),
        ({"magnitude": {"pattern": "2:4"}}, "magnitude-2:4"),
        ({"wanda": {}}, "wanda-50%"),
        ({"sparsegpt": {"sparsity": 0.125}}, "sparsegpt-12.5%"),
        ({"noise": None}, "noise-4bit"),
    ],
)
def test_labels_read_like_the_literature(written: object, label: str) -> None:
    assert Recipe.parse(written).label() == label


def test_what_is_left_out_equals_what_is_written_out() -> None:
    short = Recipe.parse({"gptq": {"bits": 4}})
    long = Recipe.parse(
        {"gptq": {"bits": 4, "group_size": 128, "act_order": False, "damping": 0.01}}
    )
    assert short == long == Recipe.from_proto(common_pb2.Recipe(gptq={"bits": 4}))


@pytest.mark.parametrize(
    ("written", "field", "text"),
    [
        ({"gptq": {"bits": 5}}, "recipe.gptq.bits", "is 5: use 2, 3, 4 or 8"),
        ({"awq": {"bits": 2}}, "recipe.awq.bits", "is 2: use 3, 4 or 8"),
        ({"gptq": {}}, "recipe.gptq.bits", "is missing: add it"),
        ({"gptq": {"bits": 4, "groupsize": 64}}, "recipe.gptq.groupsize", "mean group_size?"),
        ({"rtn": {"bits": 4, "group_size": 100}}, "recipe.rtn.group_size", "is 100: use 16,"),
        ({"gtpq": {"bits": 4}}, "recipe.gtpq", "is not a method: did you mean gptq?"),
        ({"wanda": {"sparsity": 1.0}}, "recipe.wanda.sparsity", "is 1.0: must be less than 1"),
        (
            {"wanda": {"sparsity": 0.3, "pattern": "2:4"}},
            "recipe.wanda.sparsity",
            "is 0.3 with pattern 2:4",
        ),
        (
            {"gptq": {"bits": 4}, "layout": "zip"},
            "recipe.layout",
            "use dense, packed or packed-gptq",
        ),
        ({"gptq": {"bits": 4}, "awq": {"bits": 4}}, "recipe", "names 2 methods"),
        ({}, "recipe", "names 0 methods"),
        (["gptq"], "recipe", "is not a mapping"),
        ({"gptq": 4}, "recipe.gptq", "is not a mapping of parameters"),
    ],
)
def test_a_mistake_names_the_field_and_what_is_allowed(
    written: object, field: str, text: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Recipe.parse(written)
    assert caught.value.field == field
    assert text in str(caught.value)


def test_several_mistakes_are_reported_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Recipe.parse({"gptq": {"bits": 5, "damping": -1, "x": 1}})
    assert [violation.field for violation in caught.value.violations] == [
        "recipe.gptq.bits",
        "recipe.gptq.damping",
        "recipe.gptq.x",
    ]
    assert caught.value.reason == "UNKNOWN_RECIPE_FIELD"
    assert caught.value.violations[0] == FieldViolation(
        "recipe.gptq.bits", "is 5: use 2, 3, 4 or 8"
    )


def test_an_empty_message_names_the_methods() -> None:
    with pytest.raises(InvalidArgument, match="recipe names no method: set one of dense, gptq"):
        Recipe.from_proto(common_pb2.Recipe())


def test_calibration_counts_only_for_methods_that_look_at_data() -> None:
    first, second = Calibration(seed=0), Calibration(seed=1)
    gptq, rtn = Recipe.parse({"gptq": {"bits": 4}}), Recipe.parse({"rtn": {"bits": 4}})
    assert variant_key(MODEL, gptq, first) != variant_key(MODEL, gptq, second)
    assert variant_key(MODEL, rtn, first) == variant_key(MODEL, rtn, second)
    assert variant_key(MODEL, rtn, first) != variant_key("sha256:" + "b" * 64, rtn, first)
