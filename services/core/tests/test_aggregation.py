"""The score formula: exact values on small tables, and agreement with naive computation."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_core import verdicts
from assay_core.aggregation import (
    Disparity,
    Exp,
    Mean,
    OneMinus,
    Scale,
    Table,
    Term,
    WeightedMean,
    dump_expr,
    evaluate,
    mean_of,
    parse_expr,
    restrict,
    scenarios_of,
)
from assay_core.errors import AssayError, DataLoss, InvalidArgument
from assay_core.verdicts import Verdict, VerdictRow


def row(scenario="s", sample="a", cluster=None, index=0, value=1.0, group=None, label=None,
        verdict=Verdict.ANSWERED):  # fmt: skip
    return VerdictRow(
        scenario, sample, cluster or sample, index, verdict, value, group, label, 10, 5
    )


def score(expr, rows, weights=None):
    return evaluate(expr, Table.from_arrow(verdicts.to_table(rows)), weights)


def test_mean_averages_completions_within_a_sample_first():
    rows = [row(sample="a", index=k, value=1.0) for k in range(3)] + [row(sample="b", value=0.0)]
    assert score(Mean(scenario="s"), rows) == [0.5]


def test_a_mean_of_maxima_takes_the_largest_completion_of_a_sample():
    rows = [row(sample="a", index=k, value=value) for k, value in enumerate((0.1, 0.9, 0.5))]
    rows += [row(sample="b", index=0, value=-1.0), row(sample="b", index=1, value=None)]
    rows += [row(sample="c", value=None)]
    expr = Mean(scenario="s", reduce="max")
    assert score(expr, rows) == [pytest.approx((0.9 - 1.0) / 2, abs=1e-15)]


def test_the_bootstrap_recomputes_a_mean_of_maxima():
    rows = [
        row(sample=sample, cluster=sample, index=k, value=value)
        for sample, values in (("a", (0.2, 0.8)), ("b", (0.4, 0.0)))
        for k, value in enumerate(values)
    ]
    expr = OneMinus(of=Mean(scenario="s", reduce="max"))
    result = score(expr, rows, np.array([[1.0, 1.0], [3.0, 1.0], [0.0, 2.0]]))
    np.testing.assert_allclose(result, [1 - 0.6, 1 - 0.7, 1 - 0.4], atol=1e-15)


def test_null_values_are_left_out_of_the_denominator():
    rows = [
        row(sample="a", index=0, value=1.0),
        row(sample="a", index=1, value=None, verdict=Verdict.REFUSED),
        row(sample="b", value=None, verdict=Verdict.UNPARSABLE),
        row(sample="c", value=0.0),
    ]
    assert score(Mean(scenario="s"), rows) == [0.5]


def test_a_missing_scenario_and_an_unanswered_one_give_nan():
    assert math.isnan(score(Mean(scenario="other"), [row()])[0])
    assert math.isnan(score(Mean(scenario="s"), [row(value=None)])[0])


def test_composite_is_the_weighted_mean_of_its_terms():
    rows = [row(scenario="x", value=1.0), row(scenario="y", value=0.25)]
    expr = Scale(
        by=100,
        of=WeightedMean(
            terms=(
                Term(weight=3, of=Mean(scenario="x")),
                Term(weight=1, of=OneMinus(of=Mean(scenario="y"))),
            )
        ),
    )
    assert score(expr, rows) == [100 * (3 * 1.0 + 0.75) / 4]


def test_bootstrap_weights_are_cluster_multiplicities_joint_over_scenarios():
    rows = [
        row(scenario="x", sample="x1", cluster="c1", value=1.0),
        row(scenario="x", sample="x2", cluster="c2", value=0.0),
        row(scenario="y", sample="y1", cluster="c1", value=0.0),
        row(scenario="y", sample="y2", cluster="c2", value=1.0),
    ]
    expr = mean_of([Mean(scenario="x"), OneMinus(of=Mean(scenario="y"))])
    result = score(expr, rows, np.array([[1.0, 1.0], [2.0, 0.0], [1.0, 3.0]]))
    assert result.tolist() == [0.5, 1.0, 0.25]


def test_a_replicate_without_any_row_is_nan_and_the_others_are_not():
    rows = [row(sample="a", value=1.0), row(sample="b", value=None)]
    result = score(Mean(scenario="s"), rows, np.array([[0.0, 2.0], [1.0, 1.0]]))
    assert math.isnan(result[0])
    assert result[1] == 1.0


def perfect(group_labels):
    return [
        row(sample=f"r{i}", value=float(label), group=str(group), label=str(label))
        for i, (group, label) in enumerate(group_labels)
    ]


def test_dpd_is_the_spread_of_positive_prediction_rates():
    rows = perfect([(0, 1), (0, 0), (0, 0), (0, 0), (1, 1), (1, 1), (1, 1), (1, 0)])
    assert score(Disparity(op="dpd", scenario="s"), rows) == [0.5]


def test_eod_of_a_perfect_classifier_with_both_labels_in_both_groups_is_zero():
    rows = perfect([(0, 1), (0, 0), (0, 0), (1, 1), (1, 1), (1, 0)])
    assert score(Disparity(op="eod", scenario="s"), rows) == [0.0]


def test_a_rate_without_rows_counts_as_zero_so_label_as_group_makes_perfect_look_unfair():
    rows = perfect([(0, 0), (0, 0), (1, 1), (1, 1)])
    assert score(Disparity(op="dpd", scenario="s"), rows) == [1.0]
    assert score(Disparity(op="eod", scenario="s"), rows) == [1.0]


def test_one_group_alone_has_no_difference():
    rows = perfect([(1, 1), (1, 0)])
    assert score(Disparity(op="dpd", scenario="s"), rows) == [0.0]


def test_fewer_answers_than_min_answered_contribute_zero():
    rows = perfect([(0, 0), (1, 1)])
    expr = Disparity(op="dpd", scenario="s", min_answered=3)
    assert score(expr, rows) == [0.0]
    assert score(expr.model_copy(update={"min_answered": 2}), rows) == [1.0]


samples = st.lists(
    st.tuples(
        st.sampled_from(["x", "y"]),
        st.integers(0, 5),
        st.sampled_from(["c1", "c2", "c3"]),
        st.lists(st.sampled_from([0.0, 1.0, None]), min_size=1, max_size=3),
        st.sampled_from(["0", "1"]),
        st.sampled_from(["0", "1"]),
    ),
    min_size=1,
    max_size=25,
    unique_by=lambda s: (s[0], s[1]),
)


def expand(drawn):
    return [
        VerdictRow(scenario, f"i{number}", cluster, k,
                   Verdict.REFUSED if value is None else Verdict.ANSWERED,
                   value, group, label, 1, 1)
        for scenario, number, cluster, values, group, label in drawn
        for k, value in enumerate(values)
    ]  # fmt: skip


def naive_samples(drawn, scenario, multiplicity, reduce=lambda known: sum(known) / len(known)):
    for name, _, cluster, values, group, label in drawn:
        known = [value for value in values if value is not None]
        if name == scenario and known:
            for _ in range(multiplicity[cluster]):
                yield reduce(known), group, label


def naive_rate(items):
    items = list(items)
    return sum(items) / len(items) if items else 0.0


def naive_disparity(op, rows):
    groups = sorted({group for _, group, _ in rows})
    if not groups:
        return math.nan

    def spread(wanted):
        rates = [
            naive_rate(v for v, g, label in rows if g == group and label in wanted)
            for group in groups
        ]
        return max(rates) - min(rates)

    if op == "dpd":
        return spread({"0", "1"})
    return max(spread({"1"}), spread({"0"}))


@given(samples, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_every_leaf_equals_naive_resampling(drawn, counts):
    multiplicity = dict(zip(["c1", "c2", "c3"], counts, strict=True))
    table = Table.from_arrow(verdicts.to_table(expand(drawn)), clusters=("c1", "c2", "c3"))
    weights = np.array([counts], dtype=float)
    for scenario in {name for name, *_ in drawn}:
        rows = list(naive_samples(drawn, scenario, multiplicity))
        expected = naive_rate(v for v, _, _ in rows) if rows else math.nan
        np.testing.assert_allclose(evaluate(Mean(scenario=scenario), table, weights), [expected])
        largest = [v for v, _, _ in naive_samples(drawn, scenario, multiplicity, max)]
        np.testing.assert_allclose(
            evaluate(Mean(scenario=scenario, reduce="max"), table, weights),
            [naive_rate(largest) if largest else math.nan],
        )
        for op in ("dpd", "eod"):
            np.testing.assert_allclose(
                evaluate(Disparity(op=op, scenario=scenario), table, weights),
                [naive_disparity(op, rows)],
                atol=1e-12,
            )


@given(samples)
def test_row_order_does_not_matter(drawn):
    rows = expand(drawn)
    expr = mean_of([Mean(scenario="x"), Mean(scenario="y")])
    np.testing.assert_array_equal(score(expr, rows), score(expr, rows[::-1]))


leaves = st.builds(
    Mean, scenario=st.sampled_from("ab"), reduce=st.sampled_from(["mean", "max"])
) | st.builds(
    Disparity, op=st.sampled_from(["dpd", "eod"]), scenario=st.sampled_from("ab"),
    min_answered=st.integers(0, 3),
)  # fmt: skip
expressions = st.recursive(
    leaves,
    lambda inner: (
        st.builds(OneMinus, of=inner)
        | st.builds(Scale, by=st.floats(-10, 10), of=inner)
        | st.builds(mean_of, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)


@given(expressions)
def test_json_form_round_trips(expr):
    assert parse_expr(dump_expr(expr)) == expr


def test_a_formula_without_reduce_reads_as_a_mean_and_is_written_without_it():
    document = {"op": "mean", "scenario": "a"}
    assert parse_expr(document) == Mean(scenario="a", reduce="mean")
    assert dump_expr(parse_expr(document)) == document


@given(expressions)
def test_restrict_to_all_scenarios_changes_nothing_and_to_none_leaves_nothing(expr):
    assert restrict(expr, scenarios_of(expr)) == expr
    assert restrict(expr, ()) is None


def test_restrict_drops_absent_terms_so_the_rest_keeps_its_proportions():
    expr = Scale(by=100, of=mean_of([Mean(scenario="a"), Mean(scenario="b"), Mean(scenario="c")]))
    assert restrict(expr, {"a", "c"}) == Scale(
        by=100, of=mean_of([Mean(scenario="a"), Mean(scenario="c")])
    )


def test_exp_is_taken_of_the_whole_and_follows_its_part():
    rows = [row(value=1.0), row(sample="b", value=3.0)]
    formula = Scale(by=100, of=Exp(of=Scale(by=-1, of=Mean(scenario="s"))))
    assert score(formula, rows) == pytest.approx(100 * np.exp(-2.0))
    assert parse_expr(dump_expr(formula)) == formula
    assert restrict(formula, {"s"}) == formula
    assert restrict(formula, {"other"}) is None
    assert scenarios_of(formula) == ("s",)


@pytest.mark.parametrize(
    "broken",
    [{"op": "median", "scenario": "a"}, {"op": "mean"}, {"op": "weighted_mean", "terms": []}, 3,
     {"op": "mean", "scenario": "a", "extra": 1}],
)  # fmt: skip
def test_a_broken_formula_is_an_invalid_argument(broken):
    with pytest.raises(InvalidArgument, match="formula"):
        parse_expr(broken)


def test_weights_of_another_width_are_refused():
    with pytest.raises(AssayError, match="weights"):
        score(Mean(scenario="s"), [row()], np.ones((2, 7)))


def test_clusters_must_cover_the_verdicts():
    table = verdicts.to_table([row(cluster="c9")])
    with pytest.raises(InvalidArgument, match="clusters"):
        Table.from_arrow(table, clusters=("c1",))


def test_verdict_shards_round_trip_and_equal_rows_are_equal_bytes():
    rows = [row(), row(sample="b", value=None, verdict=Verdict.REFUSED, group="g", label="1")]
    data = verdicts.to_bytes(verdicts.to_table(rows))
    assert data == verdicts.to_bytes(verdicts.to_table(rows))
    assert verdicts.from_bytes(data).equals(verdicts.to_table(rows))


def test_a_damaged_verdict_shard_is_data_loss():
    data = verdicts.to_bytes(verdicts.to_table([row()]))
    with pytest.raises(DataLoss, match="not a Parquet"):
        verdicts.from_bytes(data[: len(data) // 2])


def test_an_unknown_verdict_class_is_data_loss():
    table = verdicts.to_table([row()])
    column = table.schema.get_field_index("verdict")
    table = table.set_column(column, table.schema.field(column), [["maybe"]])
    with pytest.raises(DataLoss, match="class"):
        verdicts.from_bytes(verdicts.to_bytes(table))


def test_samples_of_a_scenario_come_sorted_by_id():
    table = Table.from_arrow(verdicts.to_table([row(sample=s) for s in ("b", "c", "a")]))
    ids = table.scenarios["s"].sample_ids.tolist()
    assert all(first < second for first, second in pairwise(ids))
