"""The comparison table fits the terminal: the first of three layouts that does."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from assay_cli.study_summary import ComparisonTable
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2


def study(dimensions: int, *, gated: bool = False) -> coordination_pb2.Study:
    names = [f"dimension_{k}" for k in range(dimensions)]
    result = coordination_pb2.Study(spec={"name": "wide", "dimensions": names})
    for key in ("demo/dense/seed0", "demo/gptq-3bit-g128/seed0"):
        variant = result.variants.add(key=key)
        for name in names:
            variant.evaluations.add(dimension=name).score.value = 71.25
    if gated:
        result.gate_result.variants.add(
            variant_key="demo/gptq-3bit-g128/seed0", verdict=comparison_pb2.VERDICT_FAIL
        )
    return result


def comparisons(of: coordination_pb2.Study) -> list[comparison_pb2.Comparison]:
    return [
        comparison_pb2.Comparison(
            variant_key="demo/gptq-3bit-g128/seed0", dimension=name, difference=-3.5,
            interval_low=-5.0, interval_high=-2.0, verdict=comparison_pb2.VERDICT_FAIL,
        )
        for name in of.spec.dimensions
    ]  # fmt: skip


def printed(of: coordination_pb2.Study, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(ComparisonTable(of, comparisons(of)))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("dimensions", "width", "first_column"),
    [(2, 120, "variant"), (9, 120, "dimension"), (9, 80, "dimension"), (9, 60, "variant")],
)
def test_the_first_layout_that_fits_is_printed(dimensions, width, first_column):
    lines = printed(study(dimensions), width)
    header = next(line for line in lines if "variant" in line or "dimension " in line)
    assert header.split()[1] == first_column
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("dimensions", "width"), [(2, 120), (9, 120), (9, 60)])
def test_no_layout_loses_a_score_a_difference_or_the_gate(dimensions, width):
    of = study(dimensions, gated=True)
    text = "\n".join(printed(of, width))
    assert text.count("71.2") == 2 * dimensions
    assert text.count("-3.5 [-5.0, -2.0]") == dimensions
    assert "fail" in text
    assert "…" not in text


def test_a_dimension_without_any_score_says_so():
    of = coordination_pb2.Study(spec={"name": "real", "dimensions": ["ethics"]})
    variant = of.variants.add(key="demo/dense/seed0")
    variant.evaluations.add(dimension="ethics", state=common_pb2.STATE_SUCCEEDED)
    assert "no score" in "\n".join(printed(of, 100))
