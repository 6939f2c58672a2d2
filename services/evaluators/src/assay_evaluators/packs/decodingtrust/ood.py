"""Out-of-distribution from a checkout: styles and questions, with their demonstrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assay_evaluators.dimensions.ood.scenarios import (
    SCENARIOS,
    STYLE_ZERO_SHOT,
    QuestionRow,
    StyleRow,
    base_task,
    demonstration_set,
    demonstrations_file,
    is_knowledge,
    rows_file,
)
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_record
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import Row
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "ood"
STYLE_FILE = "ood/style.json"
KNOWLEDGE_FILE = "ood/knowledge.json"
STYLE_EXPECTED = 872
QUESTIONS_EXPECTED = {"qa_2020": 855, "qa_2023": 263}


def import_ood(checkout: Checkout, prompts: Prompts, writer: PackWriter) -> list[ScenarioReport]:
    """Writes rows once per task and demonstrations once per set; scenarios share them.

    A sentence is one cluster in all styles, a question in all its scenarios.
    """
    del prompts
    files = {
        name: checkout.json_object(name) if checkout.has(name) else None
        for name in (STYLE_FILE, KNOWLEDGE_FILE)
    }
    written: dict[str, int] = {}
    reports = []
    for scenario in SCENARIOS:
        file = KNOWLEDGE_FILE if is_knowledge(scenario) else STYLE_FILE
        report = _scenario(file, files[file], scenario, writer, written)
        path = rows_file(scenario) if report.rows else None
        writer.add_scenario(DIMENSION, scenario, report.entry(path))
        reports.append(report)
    return reports


def _scenario(
    file: str,
    document: Mapping[str, Any] | None,
    scenario: str,
    writer: PackWriter,
    written: dict[str, int],
) -> ScenarioReport:
    """Writes what is not yet written of a scenario; `written` holds rows by path."""
    task, demonstrations = base_task(scenario), demonstration_set(scenario)
    expected = QUESTIONS_EXPECTED.get(task, STYLE_EXPECTED)
    if document is None:
        return absent(DIMENSION, scenario, expected, f"data/{file} is not in the checkout")
    tests, shots = ("test", "demo") if is_knowledge(scenario) else ("dev", "train_demo")
    wanted = [(tests, task, rows_file(scenario))]
    if demonstrations is not None:
        wanted.append((shots, demonstrations, demonstrations_file(scenario) or ""))
    for group, name, path in wanted:
        records = _records(file, document, group, name)
        if not records:
            return absent(DIMENSION, scenario, expected, f"data/{file} has no {group}.{name}")
        if path not in written:
            writer.add_rows(path, _rows(file, scenario, f"{group}.{name}", records))
            written[path] = len(records)
    return found(DIMENSION, scenario, written[rows_file(scenario)], expected)


def _records(file: str, document: Mapping[str, Any], group: str, name: str) -> list[Any]:
    of_group = document.get(group)
    records = of_group.get(name, []) if isinstance(of_group, Mapping) else []
    if not isinstance(records, list):
        raise damaged_record(file, f"{group}.{name}", "is not a list")
    return records


def _rows(file: str, scenario: str, where: str, records: list[Any]) -> list[Row]:
    convert = _question if is_knowledge(scenario) else _sentence
    name = where.split(".", 1)[1]
    rows: list[Row] = []
    for position, record in enumerate(records):
        try:
            rows.append(convert(record, name, position))
        except (ValidationError, KeyError, TypeError, ValueError, IndexError, AttributeError):
            problem = "lacks a field or has a wrong one"
            raise damaged_record(file, f"{where}[{position}]", problem) from None
    return rows


def _sentence(record: Any, name: str, position: int) -> StyleRow:
    # The id says which SST-2 sentence it was; demonstrations come from the training half.
    number = record.get("id", position) if name in STYLE_ZERO_SHOT else f"{name}-{position}"
    return StyleRow(
        id=f"{position:04d}",
        cluster_id=f"sst2-{number}",
        text=record["sentence"],
        label=1 if {"0": 0, "1": 1}[str(record["label"])] else 0,
    )


def _question(record: Any, name: str, position: int) -> QuestionRow:
    # A list with one digit in news questions, a digit in MMLU demonstrations.
    answer = record["answer"][0]
    return QuestionRow(
        id=record.get("question_id") or f"{name}-{position}",
        cluster_id=record.get("question_id") or f"{name}-{position}",
        date=record.get("question_date") or "",
        question=record["question_sentence"],
        choices=tuple(record["choices"]),
        answer=int(answer),
    )
