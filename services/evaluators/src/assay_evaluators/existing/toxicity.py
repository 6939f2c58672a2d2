"""Toxicity generations: JSON Lines in data order, all samples in `response`. Spec 11.2."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay_evaluators.dimensions.toxicity.scenarios import SCENARIOS
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
    full_name,
    text_of,
)
from assay_evaluators.sdk.types import Sample

SAMPLES = 25
_ANNOTATED = "n=25.out1.split.annotated.jsonl.filtered.jsonl"
_PROMPT_FILES = {
    "toxic.jsonl": "toxic",
    "nontoxic.jsonl": "nontoxic",
    f"toxic.jsonl.gpt3.{_ANNOTATED}": "toxic-gpt3.5",
    f"toxic.jsonl.gpt4.{_ANNOTATED}": "toxic-gpt4",
}
_RUN = re.compile(
    rf"^(?:user_prompts/)?(?:generations/)?(?P<model>.+)/(?P<scenario>{'|'.join(SCENARIOS)})"
    r"-generations\.jsonl$"
)
_PICKLE = re.compile(r"^(?:user_prompts/)?(?:generations/)?(?P<model>.+)/[^/]+\.pkl$")
_REPORT = re.compile(r"^(?:user_prompts/)?(?:generations/)?(?P<model>.+)/report\.jsonl$")
_ARCHIVE = re.compile(
    r"^(?:generations/)?(?P<folder>user_prompts|realtoxicityprompts|system_prompts)/"
    r"(?P<file>.+)\.(?P<model>gpt3|gpt4|ada|curie|davinci)\.(?P<draw>n=25|t=0)\.out(?P<template>\d*)$"
)


class ToxicityReader(Reader):
    """Eight files: four prompt sets under two templates."""

    dimension = "toxicity"
    folders = ("toxicity",)

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Generation files, and the original's report; pickles are named and never loaded."""
        if match := _RUN.match(path):
            return [Located(tree, path, Layout.RUN, match["model"], scenario=match["scenario"])]
        if match := _REPORT.match(path):
            return [Located(tree, path, Layout.RUN, match["model"], Role.DERIVED)]
        if match := _PICKLE.match(path):
            reason = "a pickle; it is never loaded"
            return [Located(tree, path, Layout.RUN, match["model"], Role.UNSCORED, reason=reason)]
        if match := _ARCHIVE.match(path):
            model = full_name(match["model"])
            scenario = f"{_PROMPT_FILES.get(match['file'])}-template-{match['template']}"
            if match["draw"] == "n=25" and scenario in SCENARIOS:
                return [Located(tree, path, Layout.ARCHIVE, model, scenario=scenario)]
            reason = "not one of the eight scored settings"
            return [Located(tree, path, Layout.ARCHIVE, model, Role.UNSCORED, reason=reason)]
        return []

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads the eight settings."""
        reads, reports = [], []
        for scenario in SCENARIOS:
            expected = 1196 if scenario.startswith("toxic-template") else 1200
            read = ScenarioRead(scenario, expected)
            reads.append(read)
            if gap := source.missing(scenario):
                read.gaps.append(f"{scenario}: {gap}")
            found = [file for file in files if file.scenario == scenario]
            if not found:
                read.gaps.append(f"{scenario}: no file")
                continue
            for other in found[1:]:
                report = FileReport(other.path, other.layout, scenario, 0)
                report.rejected[f"{found[0].path} is the same setting"] += 1
                reports.append(report)
            report = _read_file(found[0], source, read)
            reports.append(report)
            if report.rows_joined < expected:
                read.gaps.append(f"{report.path}: {report.rows_joined} of {expected} rows")
        return reads, reports

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """`report.jsonl`, fractions of Perspective's scores."""
        del record
        found = [TheirNumber((f"{model}/aggregated-score",), ("score",), 100.0)]
        for scenario in SCENARIOS:
            path, own = f"{model}/{scenario}-generations", ("scenarios", scenario)
            found.append(TheirNumber((f"{path}-toxicity",), (*own, "emt")))
            found.append(TheirNumber((f"{path}-rej_rates",), (*own, "refusal")))
        return found


def _read_file(file: Located, source: Source, read: ScenarioRead) -> FileReport:
    report = FileReport(file.path, file.layout, file.scenario, read.n_expected)
    try:
        records = file.tree.json_records(file.path)
    except UnreadableError as error:
        report.rejected[str(error)] += 1
        return report
    rows = source.samples(file.scenario)
    samples = 0
    for position, record in enumerate(records):
        report.rows_found += 1
        problem, answers = _join(rows, position, record)
        # The original takes the number of samples from the first row.
        samples = samples or len(answers)
        if len(answers) != samples or problem:
            report.rejected[problem or f"{len(answers)} samples, not {samples}"] += 1
        else:
            report.rows_joined += 1
            read.answers.extend(answers)
    if samples not in (0, SAMPLES):
        # A maximum over fewer samples is smaller: comparable with no published number.
        read.gaps.append(f"{report.path}: {samples} samples per prompt, not {SAMPLES}")
    return report


def _join(
    rows: Sequence[tuple[Any, Sample]], position: int, record: Any
) -> tuple[str, list[Answer]]:
    """Why a record is rejected, or its samples."""
    if not isinstance(record, dict):
        return "not a JSON object", []
    if position >= len(rows):
        return "the data has no row at this position", []
    row, sample = rows[position]
    if record.get("prompt") != row.text:
        return "the prompt is not that of the row at this position", []
    response = record.get("response")
    choices = response.get("choices") if isinstance(response, dict) else None
    # `continuation` holds sample 0 alone.
    count = len(choices) if isinstance(choices, list) else 0
    texts = [text_of(response, index) for index in range(count)]
    answers = [Answer(sample, k, text) for k, text in enumerate(texts) if text is not None]
    return ("", answers) if answers else ("the response has no text", [])
