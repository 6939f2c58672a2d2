"""Privacy generations: JSON Lines whose rows hold the gold value. Spec 11.4.

The rows hold real people's names and addresses: nothing of them but counts leaves this module,
gold values stay in memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay_evaluators.dimensions.privacy.scenarios import (
    CONTEXT,
    ENRON,
    PII_MODES,
    PII_TYPES,
    SCENARIOS,
    TOPICS,
    part_of,
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
from assay_evaluators.sdk.types import Sample

SCORED_SEED = "1"
CONTEXT_ROWS, TEMPLATE_ROWS, PII_ROWS, UNDERSTANDING_ROWS = 3333, 3294, 100, 1700
BATCH = 10
"""Runs drop the tail of a data set that fills no batch of 5 or 10, so that 3,294 become 3,290."""

_FOLDER = re.compile(
    r"^(?:generations/)?(?P<part>enron|pii|understanding|pii_jailbreak)/(?P<name>.+)$"
)
# From both ends: what stands before `_s<digits>_`, and the seed; the model between may hold "_".
_NAME = re.compile(r"^(?P<prefix>.+?)_s(?P<n>\d+)_(?P<rest>.+)_(?P<seed>\d+)\.jsonl$")
_PII = re.compile(r"^(?P<type>.+)_(?P<mode>\d+shot(?:attack|protect))$")
_UNDERSTANDING = re.compile(r"^(?P<topic>.+)_t[\d.]+$")
_QUESTION = re.compile(r"^(?P<model>.+)_ques(?P<question>\d)$")
_SCORES = re.compile(r"^(?:generations/)?scores\.jsonl$")
_GOLD = {"enron": "gt-email", "pii": "gt"}
_JAILBREAK = "pii_jailbreak"
_TYPES = {kind.replace(" ", ""): kind for kind in PII_TYPES}


class PrivacyReader(Reader):
    """71 files: 27 Enron settings, 12 PII types in 3 modes, 8 topics of question 1."""

    dimension = "privacy"
    folders = ("privacy",)
    needs_rows = False

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Setting files and the original's scores."""
        layout = Layout.ARCHIVE if tree.base.parent.name == "data" else Layout.RUN
        if _SCORES.match(path):
            return [Located(tree, path, layout, "", Role.DERIVED)]
        folder = _FOLDER.match(path)
        name = _NAME.match(folder["name"]) if folder else None
        if folder is None or name is None:
            return []
        question = _QUESTION.match(name["rest"])
        model = question["model"] if question else name["rest"]
        scenario, reason = _scenario(folder["part"], name, question)
        if reason:
            return [Located(tree, path, layout, model, Role.UNSCORED, reason=reason)]
        return [Located(tree, path, layout, model, scenario=scenario, part=name["prefix"])]

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads every setting; of two spellings of a PII type the lower-case one counts."""
        del source
        by_scenario: dict[str, Located] = {}
        reports = []
        for file in sorted(files, key=_spelling):
            if file.scenario in by_scenario:
                report = FileReport(file.path, file.layout, file.scenario, 0)
                report.rejected[f"{by_scenario[file.scenario].path} is the same setting"] += 1
                reports.append(report)
            by_scenario.setdefault(file.scenario, file)
        reads = []
        for scenario in SCENARIOS:
            read = ScenarioRead(scenario, _expected(scenario))
            reads.append(read)
            if scenario not in by_scenario:
                read.gaps.append(f"{scenario}: no file")
                continue
            report = _read_file(by_scenario[scenario], read)
            reports.append(report)
            if report.rows_joined < _least(read.n_expected):
                read.gaps.append(f"{report.path}: {report.rows_joined} of {read.n_expected} rows")
        return reads, reports

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """`scores.jsonl`: the lines of this model, in percent."""
        if record.get("model") != model:
            return []
        part = str(record.get("dataset"))
        if part != "all":
            return [
                TheirNumber((name,), ("values", f"{ours}.{part}"), 0.01, f"{part}.{name}")
                for name, ours in (
                    ("leak_rate", "leak"),
                    ("leak_rate_wo_reject", "leak_without_refusal"),
                )
            ]
        without = ("values", "score_without_refusal")
        return [
            TheirNumber(("privacy_score",), ("score",), 1.0, "all.privacy_score"),
            TheirNumber(("reject_rate",), ("refusal",), 0.01, "all.reject_rate"),
            TheirNumber(("privacy_score_wo_reject",), without, 1.0, "all.privacy_score_wo_reject"),
        ]


def _scenario(part: str, name: re.Match[str], question: re.Match[str] | None) -> tuple[str, str]:
    """Scenario of a file name, or why it is not scored."""
    if part == _JAILBREAK:
        return "", "PII jailbreaks have weight 0"
    if name["seed"] != SCORED_SEED:
        return "", f"seed {name['seed']}; scored is seed {SCORED_SEED}"
    if part == "pii":
        return _pii_scenario(name)
    if part == "understanding":
        return _understanding_scenario(name, question)
    scenario = f"enron_{name['prefix']}"
    if scenario not in ENRON:
        return "", "not one of the 27 scored settings"
    return _nominal(scenario, name["n"], _expected(scenario))


def _pii_scenario(name: re.Match[str]) -> tuple[str, str]:
    match = _PII.match(name["prefix"])
    # Archive names keep blanks and capitals, run names drop the blanks.
    kind = _TYPES.get(match["type"].replace(" ", "").lower()) if match else None
    if match is None or kind is None or match["mode"] not in PII_MODES:
        return "", "not one of the 12 scored types in 3 modes"
    return _nominal(f"pii_{kind.replace(' ', '-')}_{match['mode']}", name["n"], PII_ROWS)


def _understanding_scenario(name: re.Match[str], question: re.Match[str] | None) -> tuple[str, str]:
    match = _UNDERSTANDING.match(name["prefix"])
    if match is None or match["topic"] not in TOPICS or question is None:
        return "", "not one of the 8 topics"
    if question["question"] != "1":
        return "", f"question {question['question']}; scored is question 1"
    # Here the number is the repeats per phrasing.
    return _nominal(f"understanding_{match['topic']}", name["n"], 100)


def _nominal(scenario: str, found: str, wanted: int) -> tuple[str, str]:
    return (scenario, "") if int(found) == wanted else ("", f"s{found}; scored is s{wanted}")


def _expected(scenario: str) -> int:
    if part_of(scenario) == "pii":
        return PII_ROWS
    if part_of(scenario) == "understanding":
        return UNDERSTANDING_ROWS
    return CONTEXT_ROWS if scenario in CONTEXT else TEMPLATE_ROWS


def _least(expected: int) -> int:
    return expected - expected % BATCH


def _spelling(file: Located) -> tuple[bool, str]:
    return (file.part != file.part.lower(), file.path)


def _read_file(file: Located, read: ScenarioRead) -> FileReport:
    report = FileReport(file.path, file.layout, file.scenario, read.n_expected)
    part = part_of(file.scenario)
    seen: set[Any] = set()
    try:
        records = file.tree.json_records(file.path)
    except UnreadableError as error:
        report.rejected[str(error)] += 1
        return report
    for position, record in enumerate(records):
        report.rows_found += 1
        problem, text, gold = _row(record, part)
        if problem:
            report.rejected[problem] += 1
        elif part == "enron" and gold in seen:
            report.rejected["repeats a person: the first row counts"] += 1
        elif report.rows_joined >= read.n_expected:
            report.rejected[f"beyond the first {read.n_expected} rows"] += 1
        else:
            seen.add(gold)
            report.rows_joined += 1
            identifier = f"row-{position:05d}"
            sample = Sample(file.scenario, identifier, identifier, (), gold=gold)
            read.answers.append(Answer(sample, 0, text))
    return report


def _row(record: Any, part: str) -> tuple[str, str, str | None]:
    """Problem, text and gold value of a row; a problem names a field, never a value."""
    if not isinstance(record, Mapping):
        return "not a JSON object", "", None
    text = record.get("continuation")
    if not isinstance(text, str):
        text = text_of(record.get("response"))
    if text is None:
        return "no continuation", "", None
    if part not in _GOLD:
        return "", text, None
    gold = record.get(_GOLD[part])
    if not isinstance(gold, str) or not gold or (part == "enron" and "@" not in gold):
        return f"no {_GOLD[part]}", "", None
    return "", text, gold
