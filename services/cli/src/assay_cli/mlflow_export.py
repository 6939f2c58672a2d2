"""A study's report as MLflow runs: one for the study, and a nested one for each variant.

MLflow is an extra (`make mlflow`): nothing here is imported before it is asked for. Exporting a
study again finds its runs by their tags and writes into them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from assay_coordinator.report.model import ReportData, ReportVariant
from assay_core.errors import FailedPrecondition, Unavailable

STUDY_TAG, VARIANT_TAG = "assay.study", "assay.variant"
_MOST_METRICS = 1000  # of one request to a tracking server


@dataclass(frozen=True)
class Exported:
    """One run: what it is of, and what is logged to it."""

    name: str
    variant: str  # empty: the study itself
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


def runs_of(data: ReportData) -> list[Exported]:
    """The runs of a report, the study's own first. Pure."""
    facts = {_key(fact.name): fact.value for fact in data.provenance}
    study = Exported(
        name=data.study_name,
        variant="",
        params={**facts, "dimensions": ", ".join(data.dimensions), "parser": data.parser_version},
        metrics={"variants": float(len(data.variants))},
        tags={
            "assay.headline": data.headline,
            "assay.state": data.state,
            **({"assay.gate": data.gate.verdict} if data.gate else {}),
        },
    )
    return [study, *(_variant_run(data, variant) for variant in data.variants)]


def _variant_run(data: ReportData, variant: ReportVariant) -> Exported:
    verdicts = {
        f"assay.verdict.{c.dimension}": str(c.verdict)
        for dimension in data.dimensions
        if (c := data.comparison(variant.key, dimension)) is not None and c.verdict is not None
    }
    params = {
        "model": variant.model,
        "label": variant.label,
        "method": variant.method,
        "calibration_seed": variant.calibration_seed,
        "artifact_digest": variant.artifact_digest,
        "measured_on": variant.measured_on,
    }
    return Exported(
        name=variant.key,
        variant=variant.key,
        params={name: str(value) for name, value in params.items() if value != ""},
        metrics=dict(_metrics(data, variant)),
        tags={**verdicts, "assay.state": variant.state},
    )


def _metrics(data: ReportData, variant: ReportVariant) -> Iterator[tuple[str, float]]:
    """Scores and paired differences with their intervals, sizes, and what was measured."""
    named: dict[str, float | None] = {
        "bits_per_weight": variant.bits_per_weight,
        "sparsity": variant.sparsity,
        "packed_bytes": variant.packed_bytes,
        "compression_seconds": variant.compression_seconds,
    }
    if variant.measured is not None:
        named |= {
            "ttft_p50_seconds": variant.measured.ttft_p50_seconds,
            "ttft_p95_seconds": variant.measured.ttft_p95_seconds,
            "tokens_per_second": variant.measured.tokens_per_second,
            "memory_bytes": variant.measured.memory_bytes,
        }
    for dimension in data.dimensions:
        score = data.score(variant.key, dimension)
        if score is not None:
            named |= {
                f"{dimension}.score": score.value,
                f"{dimension}.score_low": score.interval_low,
                f"{dimension}.score_high": score.interval_high,
                f"{dimension}.completions": score.completions,
                f"{dimension}.refused": score.refused,
                f"{dimension}.unparsable": score.unparsable,
            }
        comparison = data.comparison(variant.key, dimension)
        if comparison is not None:
            named |= {
                f"{dimension}.difference": comparison.difference,
                f"{dimension}.difference_low": comparison.interval_low,
                f"{dimension}.difference_high": comparison.interval_high,
                f"{dimension}.p_value_holm": comparison.p_value_holm,
                f"{dimension}.flip_rate": comparison.flip_rate,
            }
    yield from ((name, float(value)) for name, value in named.items() if value is not None)


def export(
    data: ReportData, files: Mapping[str, bytes], folder: Path, *, uri: str, experiment: str
) -> list[str]:
    """Write the runs of a report to a tracking store; returns their ids, the study's first. Blocks.

    Args:
        data: The report.
        files: Files of the report by name, logged as artifacts of the study's run.
        folder: An empty folder for them on their way.
        uri: Tracking URI: a server, or a database such as `sqlite:///mlflow.db`.
        experiment: Name of the experiment; it is made if there is none.

    Raises:
        FailedPrecondition: If MLflow is not installed.
        Unavailable: If the store cannot be reached or refuses.
    """
    client_type, entities, refused = _mlflow()
    try:
        client = client_type(tracking_uri=uri)
        known = client.get_experiment_by_name(experiment)
        place = known.experiment_id if known else client.create_experiment(experiment)
        ids: list[str] = []
        for run in runs_of(data):
            run_id = _run(client, place, data, run, parent=ids[0] if ids else "")
            ids.append(run_id)
            # A store refuses a parameter that changes, and one longer than 6000 characters.
            params = [entities.Param(name, value[:6000]) for name, value in run.params.items()]
            moment = int(1000 * data.generated_at.timestamp())
            metrics = [entities.Metric(*item, moment, 0) for item in run.metrics.items()]
            tags = [entities.RunTag(*item) for item in run.tags.items()]
            client.log_batch(run_id, metrics[:_MOST_METRICS], params, tags)
        for name, content in files.items():
            (folder / name).write_bytes(content)
            client.log_artifact(ids[0], str(folder / name))
        for run_id in ids:
            client.set_terminated(run_id)
    except (refused, OSError) as error:
        raise Unavailable(
            f"MLflow's store refused: {error}",
            reason="MLFLOW_REFUSED",
            field="--tracking-uri",
            remedy="name a tracking server that answers, or sqlite:///FILE",
        ) from error
    return ids


def _run(client: Any, experiment: str, data: ReportData, run: Exported, *, parent: str) -> str:
    """Id of the run, made if the study was not exported here before."""
    wanted = f"tags.`{STUDY_TAG}` = '{data.study_id}' and tags.`{VARIANT_TAG}` = '{run.variant}'"
    found = client.search_runs([experiment], filter_string=wanted, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {STUDY_TAG: data.study_id, VARIANT_TAG: run.variant}
    if parent:
        tags["mlflow.parentRunId"] = parent
    return str(client.create_run(experiment, run_name=run.name, tags=tags).info.run_id)


def _mlflow() -> tuple[Any, Any, type[Exception]]:
    """Client, entities and exception of MLflow, which is told to report its use to nobody.

    It is also told to keep the addresses of its pages out of standard output, which is ours.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        mlflow = import_module("mlflow")
        exceptions = import_module("mlflow.exceptions")
    except ImportError as error:
        raise FailedPrecondition(
            "MLflow is not installed here",
            reason="EXTRA_MISSING",
            remedy="run `make mlflow`, or install the extra assay-cli[mlflow]",
        ) from error
    return mlflow.MlflowClient, mlflow.entities, exceptions.MlflowException


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")
