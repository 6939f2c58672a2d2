"""Asks a model the demo pack through the evaluators' own prompts, parsers and formulas.

`ask` writes the questions, `models.demo.answer` (another environment) the answers, `score` prints
each variant's scores with paired differences to the dense model. Neither needs a service, so a
newly trained model shows early what compression does to it. `make -C models/demo probe` runs all.
Toxicity is left to the demo study, because its values come from a scorer.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from models.demo.prompts import DIMENSIONS

from assay_core.aggregation import Table, evaluate
from assay_core.verdicts import VerdictRow, to_table
from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.dimension import load_dimension
from assay_evaluators.sdk.plan import Plan, make_plan
from assay_evaluators.sdk.spec import Engine, Spec, Subject

PROBED = [name for name in DIMENSIONS if name != "toxicity"]
REPLICATES = 2000
_NONE = "sha256:" + "0" * 64
_ENGINE = Engine(
    family="transformers",
    version="-",
    dtype="float32",
    kv_cache_dtype="float32",
    max_model_len=16384,
    device_class="cpu",
)
_SUBJECT = Subject(
    artifact_digest=_NONE, engine=_ENGINE, tokenizer_digest=_NONE, chat_template_digest=_NONE
)


def plans(pack: Pack, limit: int, dimensions: Sequence[str]) -> list[Plan]:
    """What the evaluators would ask."""
    return [
        make_plan(
            load_dimension(name),
            pack,
            Spec(
                dimension=name,
                pack_uri="packs/demo",
                pack_digest=pack.digest,
                subject=_SUBJECT,
                row_limit=limit,
            ),
        )
        for name in dimensions
    ]


def ask(planned: Sequence[Plan], out: Path, samples: int) -> None:
    """Write every question as JSON Lines."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "questions.jsonl").open("w", encoding="utf-8") as file:
        for plan in planned:
            for scenario in plan.scenarios:
                sampling = scenario.sampling
                for sample in scenario.samples:
                    record = {
                        "dimension": plan.dimension.name,
                        "scenario": scenario.name,
                        "id": sample.id,
                        "messages": [
                            {"role": message.role, "content": message.content}
                            for message in sample.messages
                        ],
                        "text": sample.text,
                        "temperature": sampling.temperature,
                        "n": min(sampling.n, samples),
                        "max_tokens": sampling.max_tokens,
                    }
                    file.write(json.dumps(record) + "\n")


def verdict_table(plan: Plan, answers: dict[tuple[str, str], list[str]]) -> tuple[Table, float]:
    """Verdicts of one plan, and the share of answers that parse."""
    parser = plan.dimension.parser("")
    parse = parser.build(plan.prompts)
    rows = []
    for scenario in plan.scenarios:
        for sample in scenario.samples:
            for number, text in enumerate(answers[scenario.name, sample.id]):
                parsed = parse(text, sample, number)
                rows.append(
                    VerdictRow(
                        scenario=scenario.name,
                        sample_id=sample.id,
                        cluster_id=sample.cluster_id,
                        completion_index=number,
                        verdict=parsed.verdict,
                        value=parser.value(parsed, sample),
                        group=sample.group,
                        label=sample.label,
                        prompt_tokens=0,
                        completion_tokens=0,
                    )
                )
    known = sum(row.verdict in ("answered", "refused") for row in rows)
    return Table.from_arrow(to_table(rows)), known / len(rows)


def read_answers(path: Path) -> dict[str, dict[tuple[str, str], list[str]]]:
    """Answers by dimension, then scenario and sample."""
    found: dict[str, dict[tuple[str, str], list[str]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        record: dict[str, Any] = json.loads(line)
        key = record["scenario"], record["id"]
        found.setdefault(record["dimension"], {})[key] = record["answers"]
    return found


def score(planned: Sequence[Plan], out: Path, variants: Sequence[str]) -> None:
    """Print scores, and differences to the first variant with 95 % cluster-bootstrap intervals."""
    answers = {variant: read_answers(out / f"{variant}.jsonl") for variant in variants}
    print("| dimension | " + " | ".join(variants) + " | parsed |")
    print("|---" * (len(variants) + 2) + "|")
    for plan in planned:
        name = plan.dimension.name
        formula = plan.dimension.default_metric.formula(plan.dimension.parser("").version)
        tables = [verdict_table(plan, answers[variant][name]) for variant in variants]
        clusters = len(tables[0][0].clusters)
        rng = np.random.default_rng(0)
        weights = rng.multinomial(clusters, [1 / clusters] * clusters, size=REPLICATES)
        base = evaluate(formula, tables[0][0], weights.astype(float))
        cells = []
        for number, (table, _) in enumerate(tables):
            cell = f"{evaluate(formula, table)[0]:.1f}"
            if number:
                moved = evaluate(formula, table, weights.astype(float)) - base
                low, high = np.nanquantile(moved, (0.025, 0.975))
                cell += f" [{low:+.1f}, {high:+.1f}]"
            cells.append(cell)
        parsed = " / ".join(f"{100 * share:.0f}" for _, share in tables)
        print(f"| {name} | " + " | ".join(cells) + f" | {parsed} |", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("do", choices=("ask", "score"))
    parser.add_argument("--pack", type=Path, default=Path("packs/demo"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=0, help="rows per scenario; 0 = all")
    parser.add_argument("--samples", type=int, default=5, help="most completions of a sample")
    parser.add_argument("--dimensions", nargs="+", default=PROBED)
    parser.add_argument(
        "--variants", nargs="+", default=["dense", "gptq-8", "gptq-4", "gptq-3", "magnitude-2:4"]
    )
    given = parser.parse_args()
    planned = plans(Pack.open(str(given.pack)), given.limit, given.dimensions)
    if given.do == "ask":
        ask(planned, given.out, given.samples)
    else:
        score(planned, given.out, given.variants)


if __name__ == "__main__":
    main()
