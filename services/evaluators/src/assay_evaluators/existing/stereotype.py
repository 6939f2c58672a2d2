"""Stereotype generations: CSV with literal cells (archive), JSON Lines (run). Spec 11.1."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from assay_evaluators.dimensions.stereotype.parser import AGREE, DISAGREE
from assay_evaluators.dimensions.stereotype.scenarios import SCENARIOS
from assay_evaluators.existing.files import Tree, UnreadableError, literal_cell
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
)
from assay_evaluators.packs.decodingtrust.stereotype import EXPECTED

SAMPLES = 25
ROWS_PER_TOPIC = 72
TOPICS = (
    "hiv", "terrorists", "drug_addicts", "intelligence", "greed", "parents", "country",
    "technology", "weak", "driving", "criminals", "drug_dealers", "jobs", "leadership", "stem",
    "hygiene",
)  # fmt: skip
_VERDICTS = {1: AGREE, -1: DISAGREE, 0: ""}

_SCENARIO = f"(?P<scenario>{'|'.join(SCENARIOS)})"
# Models and topics may both hold "_": the topic is the suffix.
_TOPIC = f"(?P<topic>{'|'.join(TOPICS)})"
_PREFIX = r"^(?:generations/)?"
_RUN = re.compile(rf"{_PREFIX}(?P<model>.+)/{_SCENARIO}/(?P<n>\d+)_{_TOPIC}\.jsonl$")
_SHARED = re.compile(rf"{_PREFIX}{_SCENARIO}/(?P=scenario)_{_TOPIC}\.csv$")
_ARCHIVE = re.compile(
    rf"{_PREFIX}(?P<organisation>[^/]+)/{_SCENARIO}/(?P<name>[^/]+)_{_TOPIC}\.csv$"
)
_MATRIX = re.compile(
    rf"{_PREFIX}(?P<model>.+)/{_SCENARIO}/{SAMPLES}_"
    r"(?:(?:agreement|rejection)_matrix\.csv|heatmap\.jpg)$"
)
_COMPILED = re.compile(rf"{_PREFIX}(?P<model>.+)/{SAMPLES}_compiled\.json$")


class StereotypeReader(Reader):
    """16 topic files per scenario, joined with the user prompts by their text."""

    dimension = "stereotype"
    folders = ("stereotype",)

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Topic files, and the original's compiled scores."""
        if match := _SHARED.match(path):
            # The second copy of the GPT models: rows of both alternate in one file.
            scenario, topic = match["scenario"], match["topic"]
            return [
                Located(tree, path, Layout.ARCHIVE, model, scenario=scenario, part=topic)
                for model in _models_of(tree, path)
            ]
        if match := _RUN.match(path):
            model, scenario, topic = match["model"], match["scenario"], match["topic"]
            if int(match["n"]) == SAMPLES:
                return [Located(tree, path, Layout.RUN, model, scenario=scenario, part=topic)]
            reason = f"n = {match['n']}; scored are files with n = {SAMPLES}"
            return [Located(tree, path, Layout.RUN, model, Role.UNSCORED, reason=reason)]
        if match := _ARCHIVE.match(path):
            model = f"{match['organisation']}/{match['name']}"
            scenario, topic = match["scenario"], match["topic"]
            return [Located(tree, path, Layout.ARCHIVE, model, scenario=scenario, part=topic)]
        if match := _MATRIX.match(path) or _COMPILED.match(path):
            return [Located(tree, path, Layout.RUN, match["model"], Role.DERIVED)]
        return []

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads every topic of every scenario."""
        by_key = {(file.scenario, file.part): file for file in files}
        reads, reports = [], []
        for scenario in SCENARIOS:
            read = ScenarioRead(scenario, EXPECTED)
            if gap := source.missing(scenario):
                read.gaps.append(gap)
            for topic in TOPICS:
                file = by_key.get((scenario, topic))
                if file is None:
                    read.gaps.append(f"{scenario}/{topic}: no file")
                    continue
                report = _read_topic(file, source, read)
                if report.rows_joined < ROWS_PER_TOPIC:
                    read.gaps.append(
                        f"{file.path}: {report.rows_joined} of {ROWS_PER_TOPIC} prompts"
                    )
                reports.append(report)
            reads.append(read)
        return reads, reports

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """`25_compiled.json`: fractions, scenario means rounded to 0.01."""
        del record, model
        return [
            TheirNumber(("overall_score",), ("score",), 100.0),
            TheirNumber(("overall_rejection_rate",), ("refusal",)),
            *(
                TheirNumber((name, f"category_overall_{theirs}"), ("scenarios", name, ours), scale)
                for name in SCENARIOS
                for theirs, ours, scale in (
                    ("score", "score", 100.0),
                    ("rejection_rate", "refusal", 1.0),
                )
            ),
        ]

    def rounded_refusal(self, rates: Mapping[str, float]) -> float | None:
        """Scenario rates rounded to 0.01 before they are averaged, as the original does."""
        return fmean(round(rate, 2) for rate in rates.values()) if rates else None


def _read_topic(file: Located, source: Source, read: ScenarioRead) -> FileReport:
    report = FileReport(file.path, file.layout, file.scenario, ROWS_PER_TOPIC)
    samples = {row.user: (row, sample) for row, sample in source.samples(file.scenario)}
    seen: set[str] = set()
    try:
        for record in _records(file):
            report.rows_found += 1
            user = record.get("user_prompt") if isinstance(record, dict) else None
            if not isinstance(user, str):
                report.rejected["no user_prompt"] += 1
                continue
            if user not in samples:
                report.rejected["user_prompt is not in the data"] += 1
                continue
            row, sample = samples[user]
            if row.topic.replace(" ", "_").lower() != file.part:
                report.rejected[f"prompt of another topic than {file.part}"] += 1
            elif user in seen:
                # Files are opened for appending; the original takes the first line of a prompt.
                report.rejected["repeats a prompt: the first row counts"] += 1
            elif (generations := _generations(record)) is None:
                report.rejected["a gen_* is no object with output"] += 1
            elif len(generations) != SAMPLES:
                report.rejected[f"{len(generations)} generations, not {SAMPLES}"] += 1
            else:
                seen.add(user)
                report.rows_joined += 1
                read.answers.extend(
                    Answer(sample, index, text, stored)
                    for index, (text, stored) in enumerate(generations)
                )
    except UnreadableError as error:
        report.rejected[str(error)] += 1
    return report


def _records(file: Located) -> Iterable[Any]:
    if file.layout is Layout.RUN:
        return file.tree.json_records(file.path)
    records = file.tree.csv_records(file.path)
    return _of_model(records, file.model) if _SHARED.match(file.path) else records


def _of_model(records: Iterator[dict[str, str]], model: str) -> Iterator[dict[str, str]]:
    return (record for record in records if record.get("model") == model)


def _generations(record: Mapping[str, Any]) -> list[tuple[str, str | None]] | None:
    """Texts of gen_0, gen_1, ... and the verdicts stored beside them."""
    found = []
    for index in range(len(record)):
        cell = record.get(f"gen_{index}")
        if cell is None:
            break
        if isinstance(cell, str):
            try:
                cell = literal_cell(cell)
            except UnreadableError:
                return None
        if not isinstance(cell, dict) or not isinstance(cell.get("output"), str):
            return None
        stored = cell.get("agreeability_num")
        found.append((cell["output"], _VERDICTS.get(stored) if isinstance(stored, int) else None))
    return found


def _models_of(tree: Tree, path: str) -> list[str]:
    try:
        names = (record.get("model", "") for record in tree.csv_records(path))
        return sorted({name for name, _ in groupby(names) if name})
    except UnreadableError:
        return []
