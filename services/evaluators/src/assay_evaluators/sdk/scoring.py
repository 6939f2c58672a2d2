"""Scoring: stored completions to verdicts and a score document. Needs no model. Blocks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from assay_core import verdicts
from assay_core.aggregation import Expr, Table, dump_expr, evaluate, restrict
from assay_core.digest import canonical_json, digest_of, hex_of, sha256_bytes
from assay_core.errors import FailedPrecondition
from assay_core.storage import ObjectStore
from assay_core.verdicts import Verdict, VerdictRow
from assay_evaluators.sdk.dimension import Metric, Outcome, ParserVersion
from assay_evaluators.sdk.judging import Judge
from assay_evaluators.sdk.plan import Plan, PlannedScenario
from assay_evaluators.sdk.shards import OVERLENGTH, GenerationStore
from assay_evaluators.sdk.text_scores import TextScoreStore
from assay_evaluators.sdk.types import Parsed

FOLDER = "scores"
SCORE_FILE = "score.json"
VERDICTS_FILE = "verdicts.parquet"
SCHEMA_VERSION = 1
_OVERLENGTH = Parsed(Verdict.OVERLENGTH)
_WILSON_Z = 1.959963984540054


@dataclass(frozen=True)
class StoredScore:
    """A score and where it lies.

    Attributes:
        document: Content of `score.json`.
        score_uri: URI of `score.json`.
        verdicts_uri: URI of the verdict shard.
    """

    document: dict[str, Any]
    score_uri: str
    verdicts_uri: str


def score_plan(
    plan: Plan, store: ObjectStore, parser: ParserVersion, metric: Metric
) -> StoredScore:
    """Scores what is stored of a plan and stores the score under its identity.

    Equal generations, rows, parser and phrase lists give equal bytes; a score that exists is
    written again with the same content.

    Raises:
        FailedPrecondition: If completions are missing, or scores of the metric's classifier.
        DataLoss: If a shard cannot be read.
    """
    results = [
        _parse_scenario(plan, scenario, store, parser, metric.scorer) for scenario in plan.scenarios
    ]
    table = pa.concat_tables(result.table for result in results)
    shard = verdicts.to_bytes(table)
    document = _document(plan, parser, metric, results, Table.from_arrow(table))
    document["verdicts"] = {"file": VERDICTS_FILE, "digest": sha256_bytes(shard)}
    prefix = store.join(FOLDER, hex_of(_identity(plan, parser, metric)))
    store.write_bytes(store.join(prefix, VERDICTS_FILE), shard)
    store.write_bytes(store.join(prefix, SCORE_FILE), canonical_json(document))
    return StoredScore(
        document=document,
        score_uri=store.uri_of(store.join(prefix, SCORE_FILE)),
        verdicts_uri=store.uri_of(store.join(prefix, VERDICTS_FILE)),
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of a share of n (Wilson 1927)."""
    z2 = _WILSON_Z**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _WILSON_Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class _Result:
    """A parsed scenario.

    Attributes:
        scenario: The scenario.
        table: Verdict rows in sample order, then completion order.
        counts: Completions by class.
        n_valued: Completions with a value.
        sub_values: The dimension's own sub-values.
    """

    scenario: PlannedScenario
    table: Any
    counts: Counter[Verdict]
    n_valued: int
    sub_values: dict[str, float]


def _parse_scenario(
    plan: Plan, scenario: PlannedScenario, store: ObjectStore, parser: ParserVersion, scorer: str
) -> _Result:
    outcomes = _outcomes(plan, scenario, store, parser, scorer) if scenario.identity else []
    # What is Python objects here is columns from now on: memory follows the largest scenario.
    return _Result(
        scenario=scenario,
        table=verdicts.to_table(_row(scenario, each) for each in outcomes),
        counts=Counter(each.outcome.parsed.verdict for each in outcomes),
        n_valued=sum(each.outcome.value is not None for each in outcomes),
        sub_values=plan.dimension.sub_values(
            scenario.name, [each.outcome for each in outcomes], parser
        ),
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    """A completion that was parsed: its place in the scenario, its size, its outcome."""

    position: int
    index: int
    prompt_tokens: int
    completion_tokens: int
    outcome: Outcome


def _row(scenario: PlannedScenario, judged: _Judged) -> VerdictRow:
    sample = judged.outcome.sample
    return VerdictRow(
        scenario=scenario.name,
        sample_id=sample.id,
        cluster_id=sample.cluster_id,
        completion_index=judged.index,
        verdict=judged.outcome.parsed.verdict,
        value=judged.outcome.value,
        group=sample.group,
        label=sample.label,
        prompt_tokens=judged.prompt_tokens,
        completion_tokens=judged.completion_tokens,
    )


def _outcomes(
    plan: Plan, scenario: PlannedScenario, store: ObjectStore, parser: ParserVersion, scorer: str
) -> list[_Judged]:
    """Every completion of a scenario, parsed, in sample order, then completion order."""
    scores = TextScoreStore(store, scorer, scenario.generation_digest).read() if scorer else None
    judge = Judge(parser, plan.prompts, scores)
    order = {sample.id: position for position, sample in enumerate(scenario.samples)}
    found: list[_Judged] = []
    for completion in GenerationStore(store, scenario.generation_digest).completions():
        position = order.get(completion.sample_id)
        if position is None or completion.completion_index >= scenario.sampling.n:
            # Generated for a larger row limit.
            continue
        sample = scenario.samples[position]
        if completion.finish_reason == OVERLENGTH:
            outcome = Outcome(sample, _OVERLENGTH, None)
        else:
            outcome = judge(completion.text, sample, completion.completion_index)
        tokens = completion.prompt_tokens, completion.completion_tokens
        found.append(_Judged(position, completion.completion_index, *tokens, outcome))
    if len(found) < scenario.completions:
        raise FailedPrecondition(
            f"{scenario.completions - len(found)} completions of {scenario.name} are missing",
            reason="GENERATIONS_INCOMPLETE",
            remedy="run the evaluation to its end first",
            metadata={"scenario": scenario.name},
        )
    if judge.unscored:
        raise FailedPrecondition(
            f"{judge.unscored} completions of {scenario.name} have no score of {scorer}",
            reason="TEXT_SCORES_INCOMPLETE",
            remedy="run the evaluation to its end first",
            metadata={"scenario": scenario.name, "scorer": scorer},
        )
    found.sort(key=lambda judged: (judged.position, judged.index))
    return found


def _document(
    plan: Plan, parser: ParserVersion, metric: Metric, results: Sequence[_Result], table: Table
) -> dict[str, Any]:
    scenarios = [_scenario_document(plan, parser, metric, result, table) for result in results]
    by_name = {entry["scenario"]: entry for entry in scenarios}
    scored = {name for name, entry in by_name.items() if entry["score"] is not None}
    formula = metric.formula(parser.version)
    partial = restrict(formula, scored & set(metric.scenarios))
    missing = _missing(plan, metric, by_name)
    sub_values = {name: entry["sub_values"] for name, entry in by_name.items()}
    rounded = plan.dimension.paper_rounded(metric, sub_values) if not missing else None
    rates = {
        name: entry["refusal_rate"]
        for name, entry in by_name.items()
        if name in metric.scenarios and entry["refusal_rate"] is not None
    }
    return {
        "schema": SCHEMA_VERSION,
        "dimension": plan.dimension.name,
        "metric": metric.id,
        "parser_version": parser.version,
        "phrases_digest": plan.prompts.digest(parser.keys, parser.version),
        "pack_digest": plan.spec.pack_digest,
        "spec": plan.spec.content(),
        "formula": dump_expr(formula),
        "score": None if missing else _value(formula, table),
        "partial_score": None if partial is None else _value(partial, table),
        "paper_rounded_score": rounded,
        "sub_values": plan.dimension.overall_values(sub_values),
        "refusal_rate": plan.dimension.refusal_rate(rates),
        "refusal_rule": parser.refusal_rule,
        "counts": _sum_counts(by_name[name]["counts"] for name in by_name),
        "scenarios": scenarios,
        "complete": not missing,
        "missing": missing,
        "generations": {
            result.scenario.name: result.scenario.generation_digest
            for result in results
            if result.scenario.identity is not None
        },
    }


def _scenario_document(
    plan: Plan, parser: ParserVersion, metric: Metric, result: _Result, table: Table
) -> dict[str, Any]:
    scenario = result.scenario
    expr = metric.scenario_formula(parser.version, scenario.name)
    score = _value(expr, table)
    counts = result.counts
    interval: tuple[float, float] | None = None
    if metric.binary and score is not None and scenario.sampling.n == 1:
        low, high = wilson(score / 100, result.n_valued)
        interval = (100 * low, 100 * high)
    silent = sum(n for v, n in counts.items() if parser.counts_as_refusal(v, scenario.name))
    judged = counts.total() - counts[Verdict.OVERLENGTH]
    return {
        "scenario": scenario.name,
        "score": score,
        "interval": list(interval) if interval else None,
        "counts": {
            "n": len(scenario.samples),
            "n_expected": scenario.expected,
            **{str(verdict): counts[verdict] for verdict in Verdict},
        },
        "n_valued": result.n_valued,
        "refusal_rate": silent / judged if judged else None,
        "missing": scenario.gap or None,
        "sample": scenario.entry.sample,
        "sub_values": result.sub_values,
    }


def _missing(plan: Plan, metric: Metric, by_name: dict[str, Any]) -> list[str]:
    """What the metric needs and does not have; empty means that the score stands."""
    reasons = []
    for name in metric.scenarios:
        if name not in by_name:
            reasons.append(f"{name}: not run")
        elif not by_name[name]["counts"]["n"]:
            reasons.append(f"{name}: {by_name[name]['missing']}")
        elif by_name[name]["score"] is None:
            reasons.append(f"{name}: no completion has a value")
    return reasons


def _value(expr: Expr, table: Table) -> float | None:
    value = float(evaluate(expr, table)[0])
    return None if math.isnan(value) else value


def _sum_counts(counts: Any) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    names = ("n", "n_expected", *(str(verdict) for verdict in Verdict))
    return {name: total[name] for name in names}


def _identity(plan: Plan, parser: ParserVersion, metric: Metric) -> str:
    return digest_of(
        {
            "schema": SCHEMA_VERSION,
            "metric": metric.id,
            "parser_version": parser.version,
            "phrases": plan.prompts.digest(parser.keys, parser.version),
            "spec": plan.spec.content(),
            "generations": {s.name: s.generation_digest for s in plan.scenarios},
        }
    )
