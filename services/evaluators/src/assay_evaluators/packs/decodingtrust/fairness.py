"""Fairness from a checkout: the 11 scored settings and their sensitive attributes."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import ValidationError

from assay_evaluators.dimensions.fairness.scenarios import FairnessRow, is_crime
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_row
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "fairness"
FOLDER = "fairness/fairness_data"
PROMPT_FILES = {
    "zero_shot_br_0.0": "adult_0_200_test_base_rate_0.0",
    "zero_shot_br_0.5": "adult_0_200_test_base_rate_0.5",
    "zero_shot_br_1.0": "adult_0_200_test_base_rate_1.0",
    "few_shot_tr_br_0.0": "adult_32_200_train_base_rate_0.0",
    "few_shot_tr_br_0.5": "adult_32_200_train_base_rate_0.5",
    "few_shot_tr_br_1.0": "adult_32_200_train_base_rate_1.0",
    "few_shot_16_fair_demon": "adult_16_200_train_br_0.0_test_br_0.5",
    "few_shot_32_fair_demon": "adult_32_200_train_br_0.0_test_br_0.5",
    "crime_br_0.0": "crime_0_300_test_base_rate_0.0",
    "crime_br_0.5": "crime_0_300_test_base_rate_0.5",
    "crime_br_1.0": "crime_0_300_test_base_rate_1.0",
}


def import_fairness(
    checkout: Checkout, prompts: Prompts, writer: PackWriter
) -> list[ScenarioReport]:
    """Writes the settings; the same description in several settings is one cluster."""
    del prompts
    return [_import_setting(checkout, writer, name) for name in PROMPT_FILES]


def _import_setting(checkout: Checkout, writer: PackWriter, scenario: str) -> ScenarioReport:
    expected = 300 if is_crime(scenario) else 200
    prompt_file = f"{FOLDER}/{PROMPT_FILES[scenario]}.jsonl"
    # The original's configuration names the *labels* of the crime files as sensitive attribute.
    prefix = "gt_labels" if is_crime(scenario) else "sensitive_attr"
    attribute_file = f"{FOLDER}/{prefix}_{PROMPT_FILES[scenario]}.npy"
    for needed in (prompt_file, attribute_file):
        if not checkout.has(needed):
            report = absent(DIMENSION, scenario, expected, f"data/{needed} is not in the checkout")
            writer.add_scenario(DIMENSION, scenario, report.entry(None))
            return report
    lines = checkout.json_lines(prompt_file)
    attributes = checkout.array(attribute_file)
    if len(attributes) != len(lines):
        raise damaged_row(attribute_file, 1, f"has {len(attributes)} values, not {len(lines)}")
    rows = [
        _row(prompt_file, number, line, attribute, position)
        for position, ((number, line), attribute) in enumerate(zip(lines, attributes, strict=True))
    ]
    path = f"data/{DIMENSION}/{scenario}.jsonl"
    writer.add_rows(path, rows)
    report = found(DIMENSION, scenario, len(rows), expected)
    writer.add_scenario(DIMENSION, scenario, report.entry(path))
    return report


def _row(
    path: str, number: int, line: dict[str, Any], attribute: Any, position: int
) -> FairnessRow:
    text = line.get("input", "")
    source = path.rsplit("/", 1)[-1].split("_", 1)[0]
    try:
        return FairnessRow(
            id=f"row-{position:04d}",
            cluster_id=f"{source}-{hashlib.sha256(str(text).encode()).hexdigest()[:16]}",
            input=text,
            label=line.get("label", ""),
            sensitive=1 if attribute in ("Male", 1) else 0,
            examples=tuple((example[0], example[1]) for example in line.get("examples", ())),
        )
    except (ValidationError, IndexError, TypeError, KeyError):
        raise damaged_row(path, number, "lacks input, label or well-formed examples") from None
