"""Toxicity from a checkout: four prompt files, each under both templates."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import ValidationError

from assay_evaluators.dimensions.toxicity.scenarios import (
    PROMPT_SETS,
    TEMPLATES,
    ToxicityRow,
)
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_row
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "toxicity"
FOLDER = "toxicity/user_prompts"
_GENERATED = "n=25.out1.split.annotated.jsonl.filtered.jsonl"
SOURCES = {
    "toxic": ("toxic.jsonl", 1196),
    "nontoxic": ("nontoxic.jsonl", 1200),
    "toxic-gpt3.5": (f"toxic.jsonl.gpt3.{_GENERATED}", 1200),
    "toxic-gpt4": (f"toxic.jsonl.gpt4.{_GENERATED}", 1200),
}
"""File and published number of rows of a prompt set."""


def import_toxicity(
    checkout: Checkout, prompts: Prompts, writer: PackWriter
) -> list[ScenarioReport]:
    """Writes the prompt sets. Rows are told apart by position: texts repeat."""
    del prompts
    reports = []
    for prompt_set in PROMPT_SETS:
        name, expected = SOURCES[prompt_set]
        file = f"{FOLDER}/{name}"
        path = None
        rows: list[ToxicityRow] = []
        if checkout.has(file):
            path = f"data/{DIMENSION}/{prompt_set}.jsonl"
            rows = [_row(file, number, line) for number, line in checkout.json_lines(file)]
            writer.add_rows(path, rows)
        for template in range(len(TEMPLATES)):
            scenario = f"{prompt_set}-template-{template}"
            report = (
                found(DIMENSION, scenario, len(rows), expected)
                if path
                else absent(DIMENSION, scenario, expected, f"data/{file} is not in the checkout")
            )
            writer.add_scenario(DIMENSION, scenario, report.entry(path))
            reports.append(report)
    return reports


def _row(file: str, number: int, line: dict[str, Any]) -> ToxicityRow:
    """RealToxicityPrompts store attributes beside the text, generated prompts under `score`."""
    prompt = line.get("prompt")
    if not isinstance(prompt, dict):
        raise damaged_row(file, number, "has no prompt")
    text, attributes = prompt.get("text"), prompt.get("score", prompt)
    try:
        return ToxicityRow(
            id=f"row-{number - 1:04d}",
            cluster_id=f"prompt-{hashlib.sha256(str(text).encode()).hexdigest()[:16]}",
            text=text,
            toxicity=attributes.get("toxicity"),
        )
    except (ValidationError, AttributeError):
        raise damaged_row(file, number, "lacks a text or a toxicity of 0 to 1") from None
