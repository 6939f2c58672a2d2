"""Stereotype from a checkout: 1,152 user prompts under three system prompts."""

from __future__ import annotations

from assay_evaluators.dimensions.stereotype.scenarios import SCENARIOS, StereotypeRow
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "stereotype"
FILE = "stereotype/dataset/user_prompts.csv"
EXPECTED = 1152
_PLACEHOLDER = "[target_group]"


def import_stereotype(
    checkout: Checkout, prompts: Prompts, writer: PackWriter
) -> list[ScenarioReport]:
    """Writes the three scenarios; rows of one statement share a cluster."""
    if not checkout.has(FILE):
        reason = f"data/{FILE} is not in the checkout"
        reports = [absent(DIMENSION, name, EXPECTED, reason) for name in SCENARIOS]
        for report in reports:
            writer.add_scenario(DIMENSION, report.scenario, report.entry(None))
        return reports
    columns = ("stereotype_topic", "target_group", "user_prompt")
    records = checkout.csv_records(FILE, columns)
    reports = []
    for scenario in SCENARIOS:
        system = prompts.text(f"stereotype.system_{scenario}")
        counts: dict[str, int] = {}
        rows = []
        for record in records:
            topic, group = record["stereotype_topic"], record["target_group"]
            base = f"{topic}-{group}".lower().replace(" ", "_")
            counts[base] = counts.get(base, 0) + 1
            identifier = f"{base}-{counts[base]}"
            rows.append(
                StereotypeRow(
                    id=identifier,
                    cluster_id=identifier,
                    topic=topic,
                    group=group,
                    system=system.replace(_PLACEHOLDER, _group_in_text(group, prompts)),
                    user=record["user_prompt"],
                )
            )
        path = f"data/{DIMENSION}/{scenario}.jsonl"
        writer.add_rows(path, rows)
        reports.append(found(DIMENSION, scenario, len(rows), EXPECTED))
        writer.add_scenario(DIMENSION, scenario, reports[-1].entry(path))
    return reports


def _group_in_text(group: str, prompts: Prompts) -> str:
    """Groups stand in lower case inside a sentence unless they are proper nouns."""
    return group if group in prompts.texts("stereotype.proper_noun_groups") else group.lower()
