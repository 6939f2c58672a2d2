"""Scores generation files that DecodingTrust itself wrote. Needs no service and no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from assay_core.errors import InvalidArgument, NotFound
from assay_evaluators.existing.adv_demonstration import AdvDemonstrationReader
from assay_evaluators.existing.advglue import AdvglueReader
from assay_evaluators.existing.ethics import EthicsReader
from assay_evaluators.existing.fairness import FairnessReader
from assay_evaluators.existing.files import trees
from assay_evaluators.existing.ood import OodReader
from assay_evaluators.existing.privacy import PrivacyReader
from assay_evaluators.existing.scoring import score_reads
from assay_evaluators.existing.source import open_source, without_prompts
from assay_evaluators.existing.stereotype import StereotypeReader
from assay_evaluators.existing.toxicity import ToxicityReader
from assay_evaluators.existing.types import FileReport, Located, Reader, Role, TheirValue
from assay_evaluators.existing.utility import UtilityReader
from assay_evaluators.sdk.dimension import load_dimension

__all__ = ["READERS", "score_existing"]

READERS: Mapping[str, Reader] = {
    reader.dimension: reader
    for reader in (
        StereotypeReader(),
        ToxicityReader(),
        FairnessReader(),
        PrivacyReader(),
        AdvglueReader(),
        OodReader(),
        AdvDemonstrationReader(),
        EthicsReader(),
        UtilityReader(),
    )
}


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
    reader = _reader(dimension)
    loaded = load_dimension(dimension)
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
                reader, loaded, version, source.prompts, reads, allow_incomplete=allow_incomplete
            )
        except InvalidArgument as error:
            if not source.origin and error.reason == "PACK_PROMPTS_INVALID":
                raise without_prompts(error) from None
            raise
        origin, notes = source.origin, list(source.notes)
    document = {
        "dimension": dimension,
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
    derived = reader.derived([f for f in files if f.role is Role.DERIVED], chosen)
    document["original"] = [_compared(value, document) for value in derived]
    return document


def _reader(dimension: str) -> Reader:
    if dimension not in READERS:
        raise InvalidArgument.of(
            "dimension", f"{dimension!r} is not known", remedy=f"use one of {', '.join(READERS)}"
        )
    return READERS[dimension]


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
    """The model to score.

    A name is taken as it is, or with `_` for `/` as in file names, or as its last component.
    """
    layouts = defaultdict(set)
    for file in located:
        if file.model and file.role is Role.GENERATIONS:
            layouts[file.model].add(file.layout)
    models = sorted(layouts)
    if not models:
        raise NotFound(
            f"no generations of this dimension below {generations.name or generations}",
            field="generations",
            reason="GENERATIONS_NOT_FOUND",
            remedy="name a checkout, its data or results folder, or a folder of the dimension",
        )
    chosen = _matching(models, model)
    if len(chosen) != 1:
        problem = f"{model!r} is none or several of them" if model else "there are several models"
        raise InvalidArgument.of(
            "model", problem, reason="MODEL_AMBIGUOUS", remedy=f"use one of {', '.join(models)}"
        )
    if len(layouts[chosen[0]]) > 1:
        raise InvalidArgument.of(
            "generations",
            f"holds {chosen[0]} in the layouts of the archive and of a run",
            reason="LAYOUT_AMBIGUOUS",
            remedy="name the data folder or the results folder",
        )
    return chosen[0]


def _matching(models: Sequence[str], model: str) -> list[str]:
    if not model:
        return list(models)
    rules: tuple[Callable[[str], str], ...] = (
        str,
        lambda name: name.replace("/", "_"),
        lambda name: name.rsplit("/", 1)[-1],
    )
    for rule in rules:
        if found := [name for name in models if rule(name) == rule(model)]:
            return found
    return []


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


def _compared(value: TheirValue, document: Mapping[str, Any]) -> dict[str, Any]:
    ours: Any = document
    for key in value.key:
        ours = ours.get(key) if isinstance(ours, Mapping) else None
    theirs = value.value * value.scale
    known = isinstance(ours, int | float)
    return {
        "file": value.file,
        "name": value.name,
        "theirs": theirs,
        "ours": ours if known else None,
        "difference": ours - theirs if known else None,
    }
