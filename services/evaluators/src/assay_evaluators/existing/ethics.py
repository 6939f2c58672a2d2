"""Machine ethics generations: twelve JSON files and their label files. Spec 11.8."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay_core.errors import InvalidArgument
from assay_evaluators.dimensions.ethics.parser import ANSWERS
from assay_evaluators.dimensions.ethics.scenarios import (
    EVASIVE,
    FEW_SHOT,
    JAILBREAK,
    SCENARIOS,
    ZERO_SHOT,
)
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
from assay_evaluators.packs.decodingtrust.ethics import EXPECTED, EXPECTED_IMMORAL
from assay_evaluators.sdk.types import Sample

_FILES = (
    {"few_shot_0_test_num0_jailbreak_0_evasive_0": ZERO_SHOT}
    | {"few_shot_32_test_num0_jailbreak_0_evasive_0": FEW_SHOT}
    | {f"few_shot_0_test_num200_jailbreak_{j + 1}_evasive_0": JAILBREAK[j] for j in range(5)}
    | {f"few_shot_0_test_num200_jailbreak_0_evasive_{e + 1}": EVASIVE[e] for e in range(5)}
)
_NAMES = {scenario: f"{name}.json" for name, scenario in _FILES.items()}
_PATH = re.compile(
    r"^(?:generations/)?(?:(?P<set>ethics_[^/]+|jiminy[^/]*)/)?(?P<model>.+)/"
    r"(?P<label>label_)?(?P<name>few_shot_[^/]+)\.json$"
)
_SCORES = re.compile(r"^(?:generations/)?scores\.jsonl$")
_SCORED_SET = "ethics_commonsense_short"
_OWN_LABELS = "machine_ethics.names_without_label_files"


class EthicsReader(Reader):
    """Exactly the 12 scored files; the original averages whatever else lies in the folder."""

    dimension = "ethics"
    folders = ("machine_ethics",)
    needs_rows = False

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Generation and label files, and the original's scores."""
        if _SCORES.match(path):
            return [Located(tree, path, Layout.RUN, "", Role.DERIVED)]
        match = _PATH.match(path)
        if match is None:
            return []
        model = match["model"]
        if match["set"] not in (None, _SCORED_SET):
            reason = f"{match['set']} is not in the score"
            return [Located(tree, path, Layout.RUN, model, Role.UNSCORED, reason=reason)]
        scenario = _FILES.get(match["name"])
        if scenario is None:
            reason = "not one of the 12 scored files (the original would average it in)"
            return [Located(tree, path, Layout.RUN, model, Role.UNSCORED, reason=reason)]
        role = Role.LABELS if match["label"] else Role.GENERATIONS
        return [Located(tree, path, Layout.RUN, model, role, scenario)]

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads the 12 files; labels by position from the label file or the response."""
        own_labels = _own_labels(source)
        reads, reports = [], []
        for scenario in SCENARIOS:
            pushed = scenario in (*JAILBREAK, *EVASIVE)
            read = ScenarioRead(scenario, EXPECTED_IMMORAL if pushed else EXPECTED)
            reads.append(read)
            found = {file.role: file for file in files if file.scenario == scenario}
            file = found.get(Role.GENERATIONS)
            if file is None:
                read.gaps.append(f"{_NAMES[scenario]}: no file")
                continue
            report = FileReport(file.path, file.layout, scenario, read.n_expected)
            reports.append(report)
            try:
                labels = _labels(file, found.get(Role.LABELS), own_labels, pushed)
                _read_file(file, labels, read, report)
            except UnreadableError as error:
                report.rejected[str(error)] += 1
                read.gaps.append(f"{file.path}: {error}")
                continue
            if labels is None:
                read.gaps.append(f"label_{_NAMES[scenario]}: no file")
            elif report.rows_joined < read.n_expected:
                read.gaps.append(f"{file.path}: {report.rows_joined} of {read.n_expected} rows")
        return reads, reports

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """`scores.jsonl`: the lines of this model on the scored set."""
        of_model = record.get("model") in (model, model.rsplit("/", 1)[-1])
        if not of_model or record.get("dataset", _SCORED_SET) != _SCORED_SET:
            return []
        return [
            TheirNumber(("agg_score",), ("score",)),
            TheirNumber(("ref_rate",), ("refusal",), 0.01),
            TheirNumber(("acc_zero",), ("scenarios", ZERO_SHOT, "score"), 100.0),
            TheirNumber(("acc_few",), ("scenarios", FEW_SHOT, "score"), 100.0),
            TheirNumber(("ref_zero",), ("scenarios", ZERO_SHOT, "refusal")),
            TheirNumber(("ref_few",), ("scenarios", FEW_SHOT, "refusal")),
        ]


def _own_labels(source: Source) -> tuple[str, ...]:
    """Models whose responses hold the gold label."""
    try:
        return source.prompts.texts(_OWN_LABELS, source.version)
    except InvalidArgument:
        return ()


def _labels(
    file: Located, label_file: Located | None, own: Sequence[str], pushed: bool
) -> list[Any] | None:
    """Gold labels by position; None if there are none. Jailbreak and evasive items are immoral."""
    if pushed:
        return []
    if file.model.rsplit("/", 1)[-1] in own:
        records = file.tree.json_records(file.path)
        return [_response(record).get("label") for record in records]
    if label_file is None:
        return None
    labels = label_file.tree.json_document(label_file.path)
    if not isinstance(labels, list):
        raise UnreadableError("has a label file that is no list")
    return labels


def _read_file(
    file: Located, labels: Sequence[Any] | None, read: ScenarioRead, report: FileReport
) -> None:
    records = file.tree.json_records(file.path)
    report.rows_found = len(records)
    pushed = read.scenario in (*JAILBREAK, *EVASIVE)
    for position, record in enumerate(records):
        text = text_of(_response(record))
        label = ANSWERS[1] if pushed else _at(labels, position)
        if text is None:
            report.rejected["the response has no text"] += 1
        elif label is None:
            report.rejected["no gold label"] += 1
        elif label not in ANSWERS:
            report.rejected[f"the label is neither {ANSWERS[0]!r} nor {ANSWERS[1]!r}"] += 1
        else:
            identifier = f"row-{position:05d}"
            sample = Sample(
                read.scenario, identifier, identifier, (), label=str(ANSWERS.index(label))
            )
            read.answers.append(Answer(sample, 0, text))
            report.rows_joined += 1


def _response(record: Any) -> dict[str, Any]:
    if isinstance(record, list) and len(record) == 2 and isinstance(record[1], dict):
        return record[1]
    return {}


def _at(labels: Sequence[Any] | None, position: int) -> Any:
    return labels[position] if labels is not None and position < len(labels) else None
