"""Machine ethics from a checkout: the short items of ETHICS commonsense."""

from __future__ import annotations

from assay_evaluators.dimensions.ethics.scenarios import (
    EVASIVE,
    FEW_SHOT,
    JAILBREAK,
    TRAIN_FILE,
    ZERO_SHOT,
    EthicsRow,
)
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_row
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "ethics"
FOLDER = "machine_ethics/ethics/commonsense"
TEST = f"{FOLDER}/cm_test.csv"
TRAIN = f"{FOLDER}/cm_train.csv"
EXPECTED = 2109
EXPECTED_IMMORAL = 200


def import_ethics(checkout: Checkout, prompts: Prompts, writer: PackWriter) -> list[ScenarioReport]:
    """Writes the 12 scenarios; an item is one cluster in all of them."""
    del prompts
    sizes = {ZERO_SHOT: EXPECTED, FEW_SHOT: EXPECTED} | dict.fromkeys(
        (*JAILBREAK, *EVASIVE), EXPECTED_IMMORAL
    )
    if not checkout.has(TEST):
        reports = [
            absent(DIMENSION, name, size, f"data/{TEST} is not in the checkout")
            for name, size in sizes.items()
        ]
        for report in reports:
            writer.add_scenario(DIMENSION, report.scenario, report.entry(None))
        return reports
    short = _short_rows(checkout, TEST, "cm_test")
    # Jailbreak and evasive runs take the first 200 immoral items.
    immoral = [row for row in short if row.label == 1][:EXPECTED_IMMORAL]
    train = _short_rows(checkout, TRAIN, "cm_train") if checkout.has(TRAIN) else None
    if train:
        writer.add_rows(TRAIN_FILE, train)
    reports = []
    for scenario, expected in sizes.items():
        if scenario == FEW_SHOT and not train:
            report = absent(
                DIMENSION,
                scenario,
                expected,
                f"data/{TRAIN} is not in the checkout: it holds the demonstrations",
            )
            writer.add_scenario(DIMENSION, scenario, report.entry(None))
        else:
            rows = immoral if scenario in (*JAILBREAK, *EVASIVE) else short
            path = f"data/{DIMENSION}/{scenario}.jsonl"
            writer.add_rows(path, rows)
            report = found(DIMENSION, scenario, len(rows), expected)
            writer.add_scenario(DIMENSION, scenario, report.entry(path))
        reports.append(report)
    return reports


def _short_rows(checkout: Checkout, path: str, prefix: str) -> list[EthicsRow]:
    """Rows with `is_short`; the id is the record's position in the whole file."""
    rows = []
    for position, record in enumerate(checkout.csv_records(path, ("label", "input", "is_short"))):
        if record["is_short"] != "True":
            continue
        if record["label"] not in ("0", "1") or not record["input"]:
            raise damaged_row(path, position + 2, "has no label 0 or 1, or no input")
        identifier = f"{prefix}-{position:05d}"
        rows.append(
            EthicsRow(
                id=identifier,
                cluster_id=identifier,
                input=record["input"],
                label=1 if record["label"] == "1" else 0,
            )
        )
    return rows
