"""AdvGLUE++ and AdvGLUE dev from a checkout; the AdvGLUE++ files are the user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay_evaluators.dimensions.advglue.scenarios import (
    DEV,
    DEV_TASKS,
    SOURCES,
    TASKS,
    TEXT_KEYS,
    AdvglueRow,
)
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_record
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "advglue"
FOLDER = "adv-glue-plus-plus/data"
DEV_FILE = "adv-glue/dev.json"
DEV_EXPECTED = {"sst2": 148, "qqp": 78, "mnli": 121, "mnli-mm": 162, "qnli": 148, "rte": 81}


@dataclass(frozen=True)
class _Cell:
    """A source model and a task, and the file that holds their records."""

    source: str
    task: str
    file: str

    @property
    def scenario(self) -> str:
        return f"{self.source}_{self.task}"


Records = list[tuple[str, Any]]
"""Where a record stands in its file, and the record."""


def import_advglue(
    checkout: Checkout, prompts: Prompts, writer: PackWriter
) -> list[ScenarioReport]:
    """Writes the nine cells and the development set.

    A cell comes from `<source model>.json` (task -> records), or from `<task>.jsonl` whose records
    have a column `model`, as on the Hugging Face hub.
    """
    cells = [(source, task) for source in SOURCES for task in TASKS]
    reports = []
    for cell, records in [_plus_plus(checkout, *each) for each in cells] + _dev(checkout):
        # The sizes of the AdvGLUE++ cells are published nowhere: what the file has is the whole.
        expected = DEV_EXPECTED[cell.task] if cell.source == DEV else len(records or ())
        reports.append(_write(prompts, writer, cell, records, expected))
    return reports


def _plus_plus(checkout: Checkout, source: str, task: str) -> tuple[_Cell, Records | None]:
    whole, lines = f"{FOLDER}/{source}.json", f"{FOLDER}/{task}.jsonl"
    if checkout.has(whole):
        return _Cell(source, task, whole), _of_task(checkout, whole, task)
    if checkout.has(lines):
        records: Records = [
            (f"line {number}", record)
            for number, record in checkout.json_lines(lines)
            if record.get("model") == source
        ]
        return _Cell(source, task, lines), records
    return _Cell(source, task, whole), None


def _dev(checkout: Checkout) -> list[tuple[_Cell, Records | None]]:
    there = checkout.has(DEV_FILE)
    return [
        (_Cell(DEV, task, DEV_FILE), _of_task(checkout, DEV_FILE, task) if there else None)
        for task in DEV_TASKS
    ]


def _of_task(checkout: Checkout, file: str, task: str) -> Records:
    records = checkout.json_object(file).get(task, [])
    if not isinstance(records, list):
        raise damaged_record(file, task, "is not a list")
    return [(f"{task}[{position}]", record) for position, record in enumerate(records)]


def _write(
    prompts: Prompts, writer: PackWriter, cell: _Cell, records: Records | None, expected: int
) -> ScenarioReport:
    if not records:
        held = "has no records of it" if records is not None else "is not in the checkout"
        why = f"data/{cell.file} {held}" + (": the user supplies it" if cell.source != DEV else "")
        report = absent(DIMENSION, cell.scenario, expected, why)
        writer.add_scenario(DIMENSION, cell.scenario, report.entry(None))
        return report
    labels = set(prompts.numbers(f"advglue.label_words.{cell.task}").values())
    rows = [
        _row(cell, position, where, record, labels)
        for position, (where, record) in enumerate(records)
    ]
    path = f"data/{DIMENSION}/{cell.scenario}.jsonl"
    writer.add_rows(path, rows)
    report = found(DIMENSION, cell.scenario, len(rows), expected)
    writer.add_scenario(DIMENSION, cell.scenario, report.entry(path))
    return report


def _row(cell: _Cell, position: int, where: str, record: Any, labels: set[int]) -> AdvglueRow:
    keys = TEXT_KEYS[cell.task]
    if not isinstance(record, Mapping):
        raise damaged_record(cell.file, where, "is not an object")
    texts = tuple(record.get(key) for key in keys)
    label, method = record.get("label"), record.get("method") or ""
    if any(not isinstance(text, str) or not text for text in texts):
        raise damaged_record(cell.file, where, f"lacks one of the texts {', '.join(keys)}")
    if type(label) is not int or label not in labels:
        raise damaged_record(cell.file, where, f"has a label that is none of {sorted(labels)}")
    if not isinstance(method, str):
        raise damaged_record(cell.file, where, "has a method that is no text")
    return AdvglueRow(
        id=f"{cell.task}-{position:05d}",
        cluster_id=_cluster(cell, record),
        texts=texts,
        label=label,
        method=method,
    )


def _cluster(cell: _Cell, record: Mapping[str, Any]) -> str:
    """The GLUE item: attacks on one item, by any method and source model, are not independent."""
    texts = [str(record.get(f"original_{key}") or record[key]) for key in TEXT_KEYS[cell.task]]
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    return f"{DEV if cell.source == DEV else 'glue'}-{cell.task}-{digest}"
