"""Scores generation files that DecodingTrust itself wrote. Needs no service and no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay_core.errors import InvalidArgument
from assay_evaluators.existing.documents import READERS, choose, reader_of
from assay_evaluators.existing.files import UnreadableError, trees
from assay_evaluators.existing.scoring import score_reads
from assay_evaluators.existing.source import open_source, without_prompts
from assay_evaluators.existing.types import FileReport, Located, Reader, Role
from assay_evaluators.sdk.dimension import load_dimension

__all__ = ["READERS", "score_existing"]


def score_existing(
    dimension: str,
    generations: Path,
    *,
    pack: str = "",
    model: str = "",
    parser: str = "",
    allow_incomplete: bool = False,
) -> dict[str, Any]:
    """Scores what DecodingTrust stored of one model on one dimension.

    Args:
        dimension: Id of the dimension.
        generations: A checkout, its `data` or `results` folder, or a folder of the dimension.
        pack: Data pack or checkout with rows and phrase lists; empty: the checkout around
            `generations`.
        model: Name of the model as folder or file names give it; may be empty if there is one.
        parser: Parser version; empty means the dimension's default.
        allow_incomplete: Give the mean over what is there.

    Returns:
        The document that `assay score --json` prints.

    Raises:
        NotFound: If there are no generations, or none of that model.
        InvalidArgument: If there are several models and none is named, or phrase lists are missing.
    """
    reader = reader_of(dimension)
    loaded = load_dimension(reader.dimension)
    version = loaded.parser(parser)
    located, unknown = _locate(reader, generations)
    chosen = _choose(located, model, generations)
    files = [file for file in located if file.model in (chosen, "")]
    with open_source(
        loaded,
        version.version,
        pack,
        generations,
        reader.folders,
        needs_rows=reader.needs_rows,
    ) as source:
        scored = [file for file in files if file.role in (Role.GENERATIONS, Role.LABELS)]
        reads, reports = reader.read(scored, source)
        try:
            result = score_reads(
                reader,
                loaded,
                version,
                source.prompts,
                reads,
                metric=reader.metric_id(version.version),
                allow_incomplete=allow_incomplete,
            )
        except InvalidArgument as error:
            if not source.origin and error.reason == "PACK_PROMPTS_INVALID":
                raise without_prompts(error) from None
            raise
        origin, notes = source.origin, list(source.notes)
    document = {
        "dimension": reader.dimension,
        "model": chosen,
        "parser": version.version,
        **result,
        "files": [_file_document(report) for report in reports],
        "unscored_files": [
            {"path": file.path, "reason": file.reason}
            for file in files
            if file.role is Role.UNSCORED
        ],
        "unknown_files": unknown,
        "rows_from": origin,
        "notes": notes,
    }
    derived = [file for file in files if file.role is Role.DERIVED]
    document["original"] = list(_compared(reader, derived, chosen, document))
    return document


def _locate(reader: Reader, generations: Path) -> tuple[list[Located], list[str]]:
    located: list[Located] = []
    unknown: list[str] = []
    for tree in trees(generations.expanduser(), reader.folders):
        for path in tree.paths():
            found = reader.locate(tree, path)
            located.extend(found)
            if not found:
                unknown.append(path)
    return located, unknown


def _choose(located: Sequence[Located], model: str, generations: Path) -> str:
    """The model to score; one that lies in both layouts is refused."""
    layouts = defaultdict(set)
    for file in located:
        if file.model and file.role is Role.GENERATIONS:
            layouts[file.model].add(file.layout)
    chosen = choose(sorted(layouts), model, generations.name or str(generations))
    if len(layouts[chosen]) > 1:
        raise InvalidArgument.of(
            "generations",
            f"holds {chosen} in the layouts of the archive and of a run",
            reason="LAYOUT_AMBIGUOUS",
            remedy="name the data folder or the results folder",
        )
    return chosen


def _file_document(report: FileReport) -> dict[str, Any]:
    return {
        "path": report.path,
        "layout": str(report.layout),
        "scenario": report.scenario,
        "rows_found": report.rows_found,
        "rows_expected": report.rows_expected,
        "rows_joined": report.rows_joined,
        "rejected": dict(report.rejected),
    }


def _compared(
    reader: Reader, files: Sequence[Located], model: str, document: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Numbers of the original's own score files beside ours; information, never input."""
    for file in files:
        for record in _objects(file):
            for number in reader.numbers(record, model):
                value = _at(record, number.path)
                if not isinstance(value, int | float):
                    continue
                theirs, ours = value * number.scale, _at(document, number.key)
                known = isinstance(ours, int | float)
                yield {
                    "file": file.path,
                    "name": number.label or ".".join(number.path),
                    "theirs": theirs,
                    "ours": ours if known else None,
                    "difference": ours - theirs if known else None,
                }


def _objects(file: Located) -> list[dict[str, Any]]:
    """Objects of a derived file; matrices, pictures and what cannot be read have none."""
    if not file.path.endswith((".json", ".jsonl")):
        return []
    try:
        records = file.tree.json_records(file.path)
    except UnreadableError:
        return []
    return [record for record in records if isinstance(record, dict)]


def _at(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
