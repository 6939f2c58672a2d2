"""Out-of-distribution generations: pairs of messages and response in data order. Spec 11.6."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay_core.aggregation import Mean, Scale, Table, evaluate, mean_of
from assay_evaluators.dimensions.ood.metric import PARTS
from assay_evaluators.dimensions.ood.scenarios import (
    BASE,
    DOMAINS,
    IDK,
    KNOWLEDGE_FEW_SHOT_SCORED,
    OLD,
    RECENT,
    STYLE_FEW_SHOT_SCORED,
    STYLE_ZERO_SHOT,
    STYLES,
    base_task,
    is_knowledge,
)
from assay_evaluators.existing.files import Tree, UnreadableError
from assay_evaluators.existing.source import Source
from assay_evaluators.existing.types import (
    Answer,
    Details,
    FileReport,
    Layout,
    Located,
    Reader,
    Role,
    ScenarioRead,
    TheirNumber,
    full_name,
    last_user_message,
    text_of,
)
from assay_evaluators.packs.decodingtrust.ood import QUESTIONS_EXPECTED, STYLE_EXPECTED
from assay_evaluators.sdk.types import Sample

SCORED = (
    RECENT,
    RECENT + IDK,
    *STYLES,
    *KNOWLEDGE_FEW_SHOT_SCORED,
    *STYLE_FEW_SHOT_SCORED,
)
_RUN_FILES = ("style", "style_8shot", "knowledge_standard", "knowledge_idk", "knowledge_2020_5shot")
_RUN = re.compile(rf"^(?:results/)?(?P<model>.+)/(?P<kind>{'|'.join(_RUN_FILES)})\.json$")
_FINAL = re.compile(r"^(?:results/)?(?P<model>.+)/final_scores\.json$")
_ALIASES = {"aug": "augment", "shake_pert": "shake_w"}
# Style names hold `_p0` and `_p0.6`: longest first.
_STYLE_NAMES = sorted((*STYLE_ZERO_SHOT, *_ALIASES), key=len, reverse=True)
_STYLE = rf"(?P<style>{'|'.join(map(re.escape, _STYLE_NAMES))})"
_DOMAIN = rf"(?P<domain>{'|'.join((*DOMAINS, 'qa2021', '2021_qa'))})"
_ARCHIVE = tuple(
    re.compile(rf"^(?:generations/)?{pattern}(?:\.jsonl)?$")
    for pattern in (
        rf"styles/{_STYLE}_(?P<model>.+)_standard_0-shot",
        rf"styles/{_STYLE}_(?P<model>.+)_(?P<kind>ood|id)_8-shot_(?P<run>\d+)",
        r"knowledge/qa(?P<year>2020|2023)_(?P<model>.+)_(?P<kind>standard|idk)_0-shot",
        rf"knowledge/{_DOMAIN}_qa2020_(?P<model>.+)_5-shot_(?P<run>\d+)",
    )
)


class OodReader(Reader):
    """36 scored tasks, joined by row order with the sentence or question as check."""

    dimension = "ood"
    folders = ("ood",)

    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """Task files (archive), files of many tasks (run), and the original's final scores."""
        if match := _RUN.match(path):
            return [Located(tree, path, Layout.RUN, match["model"], part=match["kind"])]
        if match := _FINAL.match(path):
            return [Located(tree, path, Layout.RUN, match["model"], Role.DERIVED)]
        for number, pattern in enumerate(_ARCHIVE):
            if match := pattern.match(path):
                model, task = full_name(match["model"]), _archive_task(number, match)
                if task in SCORED:
                    return [Located(tree, path, Layout.ARCHIVE, model, scenario=task)]
                reason = f"{task} is not scored"
                return [Located(tree, path, Layout.ARCHIVE, model, Role.UNSCORED, reason=reason)]
        return []

    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads every scored task."""
        reads = {name: ScenarioRead(name, _expected(name)) for name in SCORED}
        reports = []
        for file in files:
            try:
                tasks = list(_tasks(file))
            except UnreadableError as error:
                report = FileReport(file.path, file.layout, file.scenario, 0)
                report.rejected[str(error)] += 1
                reports.append(report)
                continue
            for task, pairs in tasks:
                if task not in reads:
                    continue
                report = _read_task(file, task, pairs, source, reads[task])
                reports.append(report)
        for read in reads.values():
            if not read.answers and not any(r.scenario == read.scenario for r in reports):
                read.gaps.append(f"{read.scenario}: no answers")
            elif read.n < read.n_expected:
                read.gaps.append(f"{read.scenario}: {read.n} of {read.n_expected} rows")
            if not source.samples(read.scenario):
                read.gaps.append(f"{read.scenario}: {source.missing(read.scenario)}")
        return list(reads.values()), reports

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """`final_scores.json`, in percent."""
        del record, model
        return [
            TheirNumber(("score",), ("score",)),
            TheirNumber(("rr",), ("refusal",), 0.01),
            *(TheirNumber(("subscores", name), ("values", name)) for name in PARTS),
            *(
                TheirNumber((task, theirs), ("scenarios", task, ours), 0.01)
                for task in SCORED
                for theirs, ours in (("acc", "acc"), ("rr", "refusal"))
            ),
        ]

    def details(self, version: str, table: Table, present: Sequence[str]) -> Details:
        """The four parts that have all their tasks."""
        del version
        parts = {
            name: Scale(by=100, of=mean_of([Mean(scenario=each) for each in scenarios]))
            for name, scenarios in PARTS.items()
            if set(scenarios) <= set(present)
        }
        return Details(
            overall={name: float(evaluate(part, table)[0]) for name, part in parts.items()}
        )


def _archive_task(number: int, match: re.Match[str]) -> str:
    """Task of an archive file name; `id` files have demonstrations of the same style."""
    if number < 2:
        style = _ALIASES.get(match["style"], match["style"])
        if number == 0:
            return style
        return f"{style}_{style if match['kind'] == 'id' else BASE}_{match['run']}"
    if number == 2:
        return f"qa_{match['year']}" + (IDK if match["kind"] == "idk" else "")
    return f"{OLD}_{match['domain']}_{match['run']}"


def _tasks(file: Located) -> Iterator[tuple[str, list[Any]]]:
    """Tasks of a file with their pairs."""
    if file.layout is Layout.ARCHIVE:
        yield file.scenario, file.tree.json_records(file.path)
        return
    document = file.tree.json_document(file.path)
    if not isinstance(document, dict):
        raise UnreadableError("is not an object of tasks")
    for name, entry in document.items():
        outputs = entry.get("outputs") if isinstance(entry, dict) else None
        if isinstance(outputs, list):
            # The suffix stands in the derived file alone.
            yield name + (IDK if file.part == "knowledge_idk" else ""), outputs


def _expected(task: str) -> int:
    return QUESTIONS_EXPECTED.get(base_task(task), STYLE_EXPECTED)


def _read_task(
    file: Located, task: str, pairs: Sequence[Any], source: Source, read: ScenarioRead
) -> FileReport:
    report = FileReport(file.path, file.layout, task, read.n_expected, rows_found=len(pairs))
    if read.answers:
        report.rejected["a second file of the task"] += len(pairs)
        return report
    rows, other = source.samples(task), _other_task_line(task, source)
    for position, pair in enumerate(pairs):
        problem, answer = _join(rows, position, pair, other)
        if answer is None:
            report.rejected[problem] += 1
        else:
            report.rows_joined += 1
            read.answers.append(answer)
    return report


def _join(
    rows: Sequence[tuple[Any, Sample]], position: int, pair: Any, other_task_line: str | None
) -> tuple[str, Answer | None]:
    if not isinstance(pair, list) or len(pair) != 2:
        return "not a pair of messages and response", None
    if position >= len(rows):
        return "the data has no row at this position", None
    row, sample = rows[position]
    asked = last_user_message(pair[0]) or ""
    if (row.question if is_knowledge(sample.scenario) else row.text) not in asked:
        return "the last user message is not that of the row at this position", None
    if _task_line(asked) == other_task_line:
        # Published standard and idk files can be the same file.
        return "the task line is that of another task", None
    text = text_of(pair[1])
    return ("the response has no text", None) if text is None else ("", Answer(sample, 0, text))


def _task_line(asked: str) -> str:
    return asked.split("\n", 1)[0]


def _other_task_line(scenario: str, source: Source) -> str | None:
    """Task line of the same questions with, or without, the option not to know; else None."""
    other = scenario.removesuffix(IDK) if scenario.endswith(IDK) else scenario + IDK
    samples = source.samples(other) if other in SCORED else []
    return _task_line(samples[0][1].messages[-1].content) if samples else None
