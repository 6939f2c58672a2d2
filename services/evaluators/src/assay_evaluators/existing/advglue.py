"""AdvGLUE++ generations: one JSON object per source model, labels inside. Spec 11.5."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay_evaluators.dimensions.advglue.scenarios import PLUS_PLUS_SCENARIOS, SOURCES, TASKS
from assay_evaluators.existing.files import Tree, UnreadableError
from assay_evaluators.existing.source import Source
from assay_evaluators.existing.types import (
    Answer,
    FileReport,
    Layout,
    Located,
    Reader,
    Role,
    ScenarioRead,
    TheirNumber,
    text_of,
)
from assay_evaluators.sdk.types import Sample

_SOURCE = re.compile(rf"^(?P<model>.+)/(?P<source>{'|'.join(SOURCES)})(?P<demo>-demo)?\.json$")
_BENIGN = re.compile(r"^(?P<model>.+)/[^/]*benign[^/]*\.json$")
_REFUSAL = re.compile(r"^(?P<model>.+)/[^/]+-refusal\.json$")
_SUMMARY = re.compile(r"^(?:summary\.json|breakdown\.json|task_breakdown\.csv)$")
_DEMO = "demo"


class AdvglueReader(Reader):
    """Three files per model; one with demonstrations is preferred to one without."""

    dimension = "advglue"
    folders = ("adv-glue-plus-plus",)

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Source model files, the benign file, and derived files."""
        if match := _SOURCE.match(path):
            part = _DEMO if match["demo"] else ""
            return [
                Located(tree, path, Layout.RUN, match["model"], scenario=match["source"], part=part)
            ]
        if match := _REFUSAL.match(path):
            return [Located(tree, path, Layout.RUN, match["model"], Role.DERIVED)]
        if match := _BENIGN.match(path):
            reason = "the benign file only marks a model as present"
            return [Located(tree, path, Layout.RUN, match["model"], Role.UNSCORED, reason=reason)]
        if _SUMMARY.match(path):
            return [Located(tree, path, Layout.RUN, "", Role.DERIVED)]
        return []

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads sst2, qqp and mnli of every source model."""
        reads = {name: ScenarioRead(name, 0) for name in PLUS_PLUS_SCENARIOS}
        reports = []
        for origin in SOURCES:
            found = sorted(
                (f for f in files if f.scenario == origin), key=lambda f: f.part != _DEMO
            )
            if not found:
                for task in TASKS:
                    reads[f"{origin}_{task}"].gaps.append(f"{origin}-demo.json: no file")
                continue
            for other in found[1:]:
                report = FileReport(other.path, other.layout, origin, 0)
                report.rejected[f"{found[0].path} is preferred"] += 1
                reports.append(report)
            reports += _read_file(found[0], origin, source, reads)
        return list(reads.values()), reports

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """`summary.json`: fractions keyed by `/<model>`, in either order of keys."""
        del record
        own = f"/{model}"
        return [
            TheirNumber(path, (key,), scale, name)
            for name, key, scale in (("Accuracy", "score", 100.0), ("RR+NE", "refusal", 1.0))
            for path in ((name, own), (own, name))
        ]


def _read_file(
    file: Located, origin: str, source: Source, reads: dict[str, ScenarioRead]
) -> list[FileReport]:
    """One report per task."""
    problem, document = "", None
    try:
        document = file.tree.json_document(file.path)
    except UnreadableError as error:
        problem = str(error)
    reports = []
    for task in TASKS:
        scenario = f"{origin}_{task}"
        read = reads[scenario]
        report = FileReport(file.path, file.layout, scenario, 0)
        reports.append(report)
        entry = document.get(task) if isinstance(document, dict) else None
        responses = entry.get("responses") if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or not isinstance(responses, list):
            reason = problem or f"has no {task}"
            report.rejected[reason] += 1
            read.gaps.append(f"{file.path}: {reason}")
            continue
        _read_task(entry, responses, read, report)
        # Labels are stored, so that no data file is needed; only the pack knows the whole size.
        whole = source.expected(scenario)
        read.n_expected = report.rows_expected = whole or report.rows_found
        if not whole:
            source.note("AdvGLUE++ is not at hand: n_expected is the number of stored answers")
        if report.rows_joined < read.n_expected or not read.n_expected:
            read.gaps.append(f"{file.path}: {report.rows_joined} of {read.n_expected} {task} rows")
    return reports


def _read_task(
    entry: dict[str, Any], responses: Sequence[Any], read: ScenarioRead, report: FileReport
) -> None:
    labels, predictions = (_list(entry.get(key)) for key in ("labels", "predictions"))
    for position, response in enumerate(responses):
        report.rows_found += 1
        label = labels[position] if position < len(labels) else None
        text = text_of(response)
        if text is None:
            report.rejected["the response has no text"] += 1
        elif not isinstance(label, int):
            report.rejected["no label"] += 1
        else:
            report.rows_joined += 1
            identifier = f"row-{position:05d}"
            sample = Sample(read.scenario, identifier, identifier, (), label=str(label))
            stored = predictions[position] if position < len(predictions) else None
            known = ("" if stored == -1 else str(stored)) if isinstance(stored, int) else None
            read.answers.append(Answer(sample, 0, text, known))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
