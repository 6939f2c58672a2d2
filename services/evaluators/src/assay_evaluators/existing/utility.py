"""MMLU of comp-trust: one CSV per subject with verdicts and no answer text. Spec 11.9."""

from __future__ import annotations

import re
from collections.abc import Sequence

from assay_evaluators.dimensions.utility.scenarios import MMLU
from assay_evaluators.existing.files import Tree, UnreadableError
from assay_evaluators.existing.source import Source
from assay_evaluators.existing.types import (
    Answer,
    FileReport,
    Layout,
    Located,
    Reader,
    ScenarioRead,
)
from assay_evaluators.sdk.types import REFUSED, Parsed, Sample, answered

SUBJECTS = (
    "abstract_algebra", "anatomy", "astronomy", "business_ethics", "clinical_knowledge",
    "college_biology", "college_chemistry", "college_computer_science", "college_mathematics",
    "college_medicine", "college_physics", "computer_security", "conceptual_physics",
    "econometrics", "electrical_engineering", "elementary_mathematics", "formal_logic",
    "global_facts", "high_school_biology", "high_school_chemistry",
    "high_school_computer_science", "high_school_european_history", "high_school_geography",
    "high_school_government_and_politics", "high_school_macroeconomics",
    "high_school_mathematics", "high_school_microeconomics", "high_school_physics",
    "high_school_psychology", "high_school_statistics", "high_school_us_history",
    "high_school_world_history", "human_aging", "human_sexuality", "international_law",
    "jurisprudence", "logical_fallacies", "machine_learning", "management", "marketing",
    "medical_genetics", "miscellaneous", "moral_disputes", "moral_scenarios", "nutrition",
    "philosophy", "prehistory", "professional_accounting", "professional_law",
    "professional_medicine", "professional_psychology", "public_relations", "security_studies",
    "sociology", "us_foreign_policy", "virology", "world_religions",
)  # fmt: skip
QUESTIONS = 14042
RIGHT, WRONG = "right", "wrong"
_PATH = re.compile(r"^(?:.+/)?results_(?P<subject>[a-z0-9_]+)\.csv$")
_CORRECT, _REFUSAL = "_correct", "_refusal"
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_NOTE = "no answer text is stored: verdicts are those of the run, whatever the parser version"


class UtilityReader(Reader):
    """57 subjects; a file may hold the columns of several models."""

    dimension = "utility"
    folders = ("mmlu", "utility")
    needs_rows = False

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Subject files; models are the columns that end in `_correct`."""
        match = _PATH.match(path)
        if match is None or match["subject"] not in SUBJECTS:
            return []
        try:
            first = next(tree.csv_records(path), {})
        except UnreadableError:
            return []
        models = [name.removesuffix(_CORRECT) for name in first if name.endswith(_CORRECT)]
        return [
            Located(tree, path, Layout.RUN, model, scenario=MMLU, part=match["subject"])
            for model in models
        ]

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads every subject; the score is the micro-average over questions."""
        source.note(_NOTE)
        by_subject = {file.part: file for file in files}
        read = ScenarioRead(MMLU, QUESTIONS)
        reports = []
        for subject in SUBJECTS:
            if subject not in by_subject:
                read.gaps.append(f"results_{subject}.csv: no file")
                continue
            report = _read_subject(by_subject[subject], read)
            reports.append(report)
            if report.rows_joined < report.rows_found or not report.rows_found:
                read.gaps.append(f"{report.path}: {report.rows_joined} of {report.rows_found} rows")
        if len(by_subject) == len(SUBJECTS) and len(read.answers) != QUESTIONS:
            read.gaps.append(f"{len(read.answers)} of {QUESTIONS} questions")
        return [read], reports


def _read_subject(file: Located, read: ScenarioRead) -> FileReport:
    report = FileReport(file.path, file.layout, MMLU, 0)
    try:
        for position, record in enumerate(file.tree.csv_records(file.path)):
            report.rows_found += 1
            correct = _BOOLEANS.get(record.get(file.model + _CORRECT, "").strip().lower())
            refusal = _BOOLEANS.get(record.get(file.model + _REFUSAL, "").strip().lower())
            if correct is None or refusal is None:
                report.rejected["_correct or _refusal is no boolean"] += 1
                continue
            report.rows_joined += 1
            identifier = f"{file.part}-{position:05d}"
            sample = Sample(MMLU, identifier, identifier, (), topic=file.part, label=RIGHT)
            read.answers.append(Answer(sample, 0, "", judged=_judged(correct, refusal)))
    except UnreadableError as error:
        report.rejected[str(error)] += 1
    report.rows_expected = report.rows_found
    return report


def _judged(correct: bool, refusal: bool) -> tuple[Parsed, float]:
    if refusal:
        return REFUSED, 0.0
    return answered(RIGHT if correct else WRONG), float(correct)
