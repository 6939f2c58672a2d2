"""What KEDA scales Ray's workers by, asked of Prometheus' own engine."""

from __future__ import annotations

import subprocess

import pytest
import yaml

GAUGES = ("assay_serving_leases", "assay_serving_load_queue", "assay_serving_wanted_models")


@pytest.fixture
def workers(render, tool, tmp_path):
    """The value of the query by leases held, requests that wait, and models that are to stay."""
    found = render(
        "serving.ray.mode=chart",
        "serving.ray.keda.prometheusAddress=http://p:9090",
        "serving.settings.max_engines=3",
        crds=("keda.sh/v1alpha1/ScaledObject",),
    )
    (scaler,) = found.of("ScaledObject")
    query = scaler["spec"]["triggers"][0]["metadata"]["query"]

    def holds(values: tuple[int, ...], expected: int) -> None:
        labels = 'namespace="ns", component="serving"'
        series = [
            {"series": f"{name}{{{labels}}}", "values": str(value)}
            for name, value in zip(GAUGES, values, strict=True)
        ]
        asked = {
            "expr": query,
            "eval_time": "0s",
            "exp_samples": [{"labels": "{}", "value": expected}],
        }
        test = {"tests": [{"input_series": series, "promql_expr_test": [asked]}]}
        file = tmp_path / "keda.test.yaml"
        file.write_text(yaml.safe_dump(test))
        subprocess.run([tool("promtool"), "test", "rules", str(file)], check=True, timeout=60)

    return holds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param((0, 0, 0), 0, id="nothing is asked for"),
        pytest.param((0, 1, 0), 1, id="the first request, while there is no worker"),
        pytest.param((1, 0, 0), 1, id="a lease"),
        pytest.param((0, 0, 2), 2, id="models that are to stay"),
        pytest.param((9, 4, 1), 3, id="never more than engines"),
    ],
)
def test_there_are_as_many_workers_as_models_that_somebody_needs(workers, values, expected):
    workers(values, expected)
