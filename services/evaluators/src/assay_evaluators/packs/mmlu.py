"""MMLU into a pack: the original CSV files, or the Parquet files of the Hugging Face hub."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from assay_core.errors import AssayError, DataLoss, NotFound
from assay_evaluators.dimensions.utility.scenarios import (
    MMLU,
    MMLU_DEV_FILE,
    MMLU_FILE,
    MMLU_LIKELIHOOD,
    PERPLEXITY,
    PERPLEXITY_FILE,
    SHOTS,
    MmluRow,
    TextRow,
)
from assay_evaluators.packs.decodingtrust.report import (
    ImportReport,
    ScenarioReport,
    absent,
    found,
)
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.schema import PackManifest
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "utility"
QUESTIONS = 14_042
SUBJECTS = 57
_LETTERS = "ABCD"
_FACTS = {
    "name": "mmlu",
    "version": "2009.03300",
    "licence": "MIT",
    "attribution": "MMLU (Hendrycks et al., 2021), https://github.com/hendrycks/test",
    "display": "allow",
    "source": "imported from local files of MMLU",
}


def import_mmlu(
    folder: Path, out: Path, *, base: Pack | None = None, heldout: Path | None = None
) -> ImportReport:
    """Imports MMLU's dev and test questions.

    Args:
        folder: Holds `dev/` and `test/` with `<subject>_dev.csv`, `<subject>_test.csv` without
            header (also one level down, as in `data.tar`), or `dev-*.parquet` and `test-*.parquet`
            in any folders, as on the hub (`all/` alone is read if it is there).
        out: Directory of the pack to write; must not exist or be empty.
        base: A pack whose content the new one has as well, so that a study finds all in one.
        heldout: JSON Lines with `text`, for perplexity.

    Raises:
        NotFound: If the folder has no such files.
        AlreadyExists: If `out` has content.
        DataLoss: Names file and line of a row that cannot be read. Nothing is written then.
    """
    dev, test = _questions(folder, "dev"), _questions(folder, "test")
    texts = _texts(heldout) if heldout is not None else None
    writer = PackWriter(out)
    try:
        if base is None:
            writer.add_prompts({})
        else:
            _copy(base, writer)
        reports = _write(writer, dev, test, texts)
        digest = writer.finish(**_facts(base.manifest if base else None))
    except BaseException:
        writer.discard()
        raise
    return ImportReport(pack_digest=digest, out=str(out), scenarios=tuple(reports))


def _write(
    writer: PackWriter, dev: list[MmluRow], test: list[MmluRow], texts: list[TextRow] | None
) -> list[ScenarioReport]:
    writer.add_rows(MMLU_DEV_FILE, dev)
    writer.add_rows(MMLU_FILE, test)
    gap = _gap(dev, test)
    reports = []
    for scenario in (MMLU, MMLU_LIKELIHOOD):
        short = len(test) < QUESTIONS
        report = ScenarioReport(DIMENSION, scenario, len(test), QUESTIONS, gap, sample=short)
        writer.add_scenario(DIMENSION, scenario, report.entry(MMLU_FILE))
        reports.append(report)
    if texts is None:
        report = absent(DIMENSION, PERPLEXITY, 0, "no held-out texts were given")
        writer.add_scenario(DIMENSION, PERPLEXITY, report.entry(None))
    else:
        writer.add_rows(PERPLEXITY_FILE, texts)
        report = found(DIMENSION, PERPLEXITY, len(texts), len(texts))
        writer.add_scenario(DIMENSION, PERPLEXITY, report.entry(PERPLEXITY_FILE))
    return [*reports, report]


def _gap(dev: list[MmluRow], test: list[MmluRow]) -> str | None:
    """What is missing; a subject with fewer than five demonstrations is asked with fewer shots."""
    shots = Counter(row.subject for row in dev)
    subjects = {row.subject for row in test}
    gaps = []
    if len(test) < QUESTIONS:
        gaps.append(f"{len(test)} of {QUESTIONS} questions, {len(subjects)} of {SUBJECTS} subjects")
    short = sorted(subject for subject in subjects if shots[subject] < SHOTS)
    if short:
        gaps.append(f"fewer than {SHOTS} demonstrations of {', '.join(short)}")
    return "; ".join(gaps) or None


def _questions(folder: Path, split: str) -> list[MmluRow]:
    """Rows of a split, subjects in alphabetical order."""
    files = _csv_files(folder, split)
    records = _csv_records(files, split) if files else _parquet_records(folder, split)
    rows: list[MmluRow] = []
    counts: Counter[str] = Counter()
    for where, subject, record in records:
        identifier = f"{subject}-{split}-{counts[subject]:04d}"
        counts[subject] += 1
        try:
            rows.append(MmluRow(id=identifier, cluster_id=identifier, subject=subject, **record))
        except ValidationError as error:
            field = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise _damaged(where, f"has no good {field}") from None
    return sorted(rows, key=lambda row: row.subject)


def _csv_files(folder: Path, split: str) -> list[Path]:
    for root in (folder, folder / "data"):
        files = sorted((root / split).glob(f"*_{split}.csv"))
        if files:
            return files
    return []


def _csv_records(files: list[Path], split: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Question, four options, letter; no header. Cells may hold line breaks."""
    for file in files:
        subject = file.name.removesuffix(f"_{split}.csv")
        reader = csv.reader(io.StringIO(file.read_text("utf-8-sig"), newline=""))
        try:
            for cells in reader:
                where = f"{file.name}:{reader.line_num}"
                if len(cells) != 6 or cells[5].strip() not in _LETTERS:
                    raise _damaged(where, "must be question, four options and a letter A-D")
                answer = _LETTERS.index(cells[5].strip())
                yield where, subject, {
                    "question": cells[0], "choices": tuple(cells[1:5]), "answer": answer
                }  # fmt: skip
        except csv.Error:
            raise _damaged(f"{file.name}:{reader.line_num}", "is not CSV") from None


def _parquet_records(folder: Path, split: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Columns question, subject, choices and answer (0-3)."""
    root = folder / "all" if (folder / "all").is_dir() else folder
    files = sorted(root.rglob(f"{split}-*.parquet"))
    if not files:
        raise NotFound(
            f"{folder.name or folder} has neither {split}/<subject>_{split}.csv nor"
            f" {split}-*.parquet",
            field="folder",
            reason="NOT_MMLU",
            remedy="name the unpacked data folder of MMLU, or a copy of its data set on the hub",
        )
    for file in files:
        try:
            with pq.ParquetFile(file) as opened:
                rows = opened.read(["question", "subject", "choices", "answer"]).to_pylist()
        except (pa.ArrowInvalid, KeyError, OSError):
            raise _damaged(file.name, "is no Parquet file with MMLU's columns") from None
        for number, row in enumerate(rows):
            subject = row.pop("subject") or file.parent.name
            row["choices"] = tuple(row["choices"] or ())
            yield f"{file.name}[{number}]", subject, row


def _texts(file: Path) -> list[TextRow]:
    rows = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        try:
            text = json.loads(line)["text"]
            rows.append(TextRow(id=f"text-{number}", cluster_id=f"text-{number}", text=text))
        except (ValueError, KeyError, TypeError):
            raise _damaged(f"{file.name}:{number}", "is no object with a text") from None
    return rows


def _copy(pack: Pack, writer: PackWriter) -> None:
    """Copies a pack's files and scenarios; its utility part is replaced."""
    for path in pack.manifest.files:
        if not path.startswith(f"data/{DIMENSION}/"):
            writer.add_file(path, pack.read(path), pack.manifest.files[path].rows)
    for dimension, entry in pack.manifest.dimensions.items():
        if dimension != DIMENSION:
            for name, scenario in entry.scenarios.items():
                writer.add_scenario(dimension, name, scenario)


def _facts(base: PackManifest | None) -> dict[str, str]:
    if base is None:
        return _FACTS
    return {
        "name": base.name,
        "version": f"{base.version}+mmlu",
        "licence": f"{base.licence}; MMLU: {_FACTS['licence']}",
        "attribution": f"{base.attribution}; {_FACTS['attribution']}",
        "display": base.display,
        "source": f"{base.source}; MMLU {_FACTS['source']}",
    }


def _damaged(where: str, problem: str) -> AssayError:
    return DataLoss(
        f"{where}: {problem}",
        field=where,
        reason="SOURCE_FILE_DAMAGED",
        remedy="get the file again from MMLU's authors or the hub",
    )
