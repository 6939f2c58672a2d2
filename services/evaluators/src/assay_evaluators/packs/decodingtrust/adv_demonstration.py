"""Adversarial demonstrations from a checkout: a scenario collects its seeds."""

from __future__ import annotations

import hashlib

from pydantic import ValidationError

from assay_evaluators.dimensions.adv_demonstration.scenarios import (
    ATTACK_SUCCESS,
    ATTACKS,
    BIASES,
    CLEAN_ACCURACY,
    COUNTERFACTUAL_SETS,
    HEURISTICS,
    SCENARIOS,
    SEEDS,
    SETUPS,
    SPURIOUS,
    SPURIOUS_SEEDS,
    AdvDemonstrationRow,
)
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_row
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "adv_demonstration"
FOLDERS = {
    **{
        f"counterfactual_{name}{suffix}": f"counterfactual/{name}{suffix}"
        for name in COUNTERFACTUAL_SETS
        for suffix in ("_cf", "")
    },
    **{
        f"spurious_{name}_{bias}": f"spurious/{name}/{bias}"
        for name in HEURISTICS
        for bias in BIASES
    },
    **{
        f"backdoor_{setup}_{attack}_{kind}": f"backdoor/experiment1/sst-2_{setup}_{attack}_{kind}"
        for setup in SETUPS
        for attack in ATTACKS
        for kind in ("asr", "cacc")
    },
}
"""Folder of a scenario below `data/adv_demonstration/`, with a file `<seed>.jsonl` per seed."""


def rows_per_seed(scenario: str) -> int:
    """Rows of a whole file."""
    if scenario in SPURIOUS:
        return 2000
    if scenario in ATTACK_SUCCESS:
        return 428
    if scenario in CLEAN_ACCURACY:
        return 872
    return 400 if "snli" in scenario else 1000


def import_adv_demonstration(
    checkout: Checkout, prompts: Prompts, writer: PackWriter
) -> list[ScenarioReport]:
    """Writes every set; the same item under several seeds or attacks is one cluster."""
    del prompts
    return [_import_set(checkout, writer, scenario) for scenario in SCENARIOS]


def _import_set(checkout: Checkout, writer: PackWriter, scenario: str) -> ScenarioReport:
    seeds = SPURIOUS_SEEDS if scenario in SPURIOUS else SEEDS
    whole = rows_per_seed(scenario)
    folder = f"{DIMENSION}/{FOLDERS[scenario]}"
    by_seed = {seed: _rows(checkout, scenario, seed) for seed in seeds}
    rows = [row for found in by_seed.values() for row in found]
    expected = whole * len(seeds)
    if not rows:
        report = absent(DIMENSION, scenario, expected, f"data/{folder}/ is not in the checkout")
        writer.add_scenario(DIMENSION, scenario, report.entry(None))
        return report
    path = f"data/{DIMENSION}/{scenario}.jsonl"
    writer.add_rows(path, rows)
    short = [f"{len(found)} in seed {s}" for s, found in by_seed.items() if len(found) < whole]
    gap = f"{len(rows)} of {expected} rows: {', '.join(short)}, of {whole} each"
    report = ScenarioReport(
        DIMENSION, scenario, len(rows), expected, gap if short else None, sample=bool(short)
    )
    writer.add_scenario(DIMENSION, scenario, report.entry(path))
    return report


def _rows(checkout: Checkout, scenario: str, seed: int) -> list[AdvDemonstrationRow]:
    """Rows of a seed; none if its file is absent."""
    path = f"{DIMENSION}/{FOLDERS[scenario]}/{seed}.jsonl"
    if not checkout.has(path):
        return []
    source = _source(scenario)
    rows = []
    for number, line in checkout.json_lines(path):
        text = str(line.get("input", ""))
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        try:
            row = AdvDemonstrationRow(
                id=f"s{seed}-{number - 1:04d}",
                cluster_id=f"{source}-{digest}",
                input=text,
                label=line["label"],
                options=tuple(line["option"]),
                examples=tuple((example[0], example[1]) for example in line["examples"]),
                seed=seed,
            )
        except (ValidationError, KeyError, IndexError, TypeError):
            raise damaged_row(path, number, "lacks input, label, option or examples") from None
        rows.append(row)
    return rows


def _source(scenario: str) -> str:
    """Data set of the items: one text in several sets of it is one cluster."""
    if scenario.startswith("backdoor"):
        return "sst2"
    return scenario.split("_", 1)[1].removesuffix("_cf")
