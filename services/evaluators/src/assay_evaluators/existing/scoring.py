"""Answers of existing files to a score document: the parsers and formulas of the dimensions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay_core import verdicts
from assay_core.aggregation import Table, evaluate, restrict
from assay_core.errors import Unimplemented
from assay_core.verdicts import Verdict, VerdictRow
from assay_evaluators.existing.types import Reader, ScenarioRead
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.scorers import embedded
from assay_evaluators.scorers.embedded import EmbeddedScorer
from assay_evaluators.sdk.dimension import Dimension, Metric, Outcome, ParserVersion
from assay_evaluators.sdk.judging import Judge
from assay_evaluators.sdk.text_scores import BLANK, text_digest
from assay_evaluators.sdk.types import TextScore


@dataclass(frozen=True)
class Judged:
    """A scenario after parsing.

    Attributes:
        read: What was found.
        rows: Verdicts, in the order of the answers.
        outcomes: The same for sub-values.
        agreement: Share of verdicts that equal the one stored in the file; None if none is stored.
    """

    read: ScenarioRead
    rows: Sequence[VerdictRow]
    outcomes: Sequence[Outcome]
    agreement: float | None


def score_reads(
    reader: Reader,
    dimension: Dimension,
    parser: ParserVersion,
    prompts: Prompts,
    reads: Sequence[ScenarioRead],
    *,
    metric: str,
    allow_incomplete: bool,
) -> dict[str, Any]:
    """Scores what was read.

    Args:
        reader: For the original's further values.
        dimension: Whose parser and metric.
        parser: Parser version.
        prompts: Phrase lists.
        reads: Scenarios; one that the metric needs and that is not here is missing.
        metric: Id of the metric; empty means the dimension's default.
        allow_incomplete: Give the mean over what is there.

    Returns:
        `metric`, `score`, `refusal`, `complete`, `partial`, `scenarios`, `missing`, `values`.
    """
    chosen = dimension.metric(metric)
    judge = Judge(parser, prompts, _text_scores(chosen, parser, prompts, reads))
    judged = {read.scenario: _judge(read, judge) for read in reads}
    wanted = {name: judged[name] for name in chosen.scenarios if name in judged}
    table = Table.from_arrow(
        verdicts.to_table(row for each in wanted.values() for row in each.rows)
    )
    scenarios = {
        name: _scenario(dimension, chosen, parser, each, table) for name, each in wanted.items()
    }
    present = [name for name, entry in scenarios.items() if entry["score"] is not None]
    details = reader.details(parser.version, table, present)
    for name, values in details.scenarios.items():
        scenarios[name].update(values)
    missing = _missing(chosen, scenarios, wanted)
    formula = chosen.formula(parser.version)
    partial = restrict(formula, set(present)) if missing else None
    score: float | None
    if not missing:
        score = _value(formula, table)
    else:
        score = _value(partial, table) if allow_incomplete and partial is not None else None
    rates = {name: entry["refusal"] for name, entry in scenarios.items() if entry["n"]}
    sub_values = {
        name: dimension.sub_values(name, each.outcomes, parser) for name, each in wanted.items()
    }
    return {
        "metric": chosen.id,
        "scorer": chosen.scorer or None,
        "score": score,
        "refusal": dimension.refusal_rate(rates) if rates else None,
        "refusal_rule": parser.refusal_rule,
        "complete": not missing,
        "partial": bool(missing) and score is not None,
        "paper_rounded_score": None if missing else dimension.paper_rounded(chosen, sub_values),
        "paper_rounded_refusal": None if missing else reader.rounded_refusal(rates),
        "scenarios": scenarios,
        "missing": missing,
        # Over what is there these are silent means like the score itself.
        "values": {**dimension.overall_values(sub_values), **details.overall}
        if allow_incomplete or not missing
        else {},
    }


def _text_scores(
    metric: Metric, parser: ParserVersion, prompts: Prompts, reads: Sequence[ScenarioRead]
) -> dict[bytes, TextScore] | None:
    """Scores of the metric's classifier; the embedded one, as this runs without any service."""
    if not metric.scorer or parser.scored_text is None:
        return None
    if metric.scorer != embedded.ID:
        raise Unimplemented(
            f"scorer {metric.scorer} needs a scoring service",
            reason="SCORER_NOT_EMBEDDED",
            remedy=f"score existing generations with {embedded.ID}",
        )
    text_of = parser.scored_text(prompts)
    texts = {text_digest(t): t for read in reads for t in (text_of(a.text) for a in read.answers)}
    asked = {digest: text for digest, text in texts.items() if text.strip()}
    scores = dict.fromkeys(texts, TextScore(None, BLANK))
    values = EmbeddedScorer().score_now(list(asked.values()))
    return scores | dict(zip(asked, values, strict=True))


def _judge(read: ScenarioRead, judge: Judge) -> Judged:
    rows, outcomes = [], []
    compared = equal = 0
    for answer in read.answers:
        sample = answer.sample
        value: float | None
        if answer.judged is not None:
            parsed, value = answer.judged
        else:
            outcome = judge(answer.text, sample, answer.index)
            parsed, value = outcome.parsed, outcome.value
        if answer.stored is not None:
            compared += 1
            equal += answer.stored == (parsed.answer or "")
        outcomes.append(Outcome(sample, parsed, value))
        rows.append(
            VerdictRow(
                scenario=read.scenario,
                sample_id=sample.id,
                cluster_id=sample.cluster_id,
                completion_index=answer.index,
                verdict=parsed.verdict,
                value=value,
                group=sample.group,
                label=sample.label,
                prompt_tokens=0,
                completion_tokens=0,
            )
        )
    return Judged(read, rows, outcomes, equal / compared if compared else None)


def _scenario(
    dimension: Dimension, metric: Metric, parser: ParserVersion, judged: Judged, table: Table
) -> dict[str, Any]:
    counts = Counter(row.verdict for row in judged.rows)
    name, total = judged.read.scenario, len(judged.rows) - counts[Verdict.OVERLENGTH]
    silent = sum(n for verdict, n in counts.items() if parser.counts_as_refusal(verdict, name))
    formula = metric.scenario_formula(parser.version, name)
    entry: dict[str, Any] = {
        "score": _value(formula, table) if total else None,
        "refusal": silent / total if total else None,
        "n": judged.read.n,
        "n_expected": judged.read.n_expected,
        "completions": len(judged.rows),
        **{str(each): counts[each] for each in Verdict},
        **dimension.sub_values(name, judged.outcomes, parser),
        **judged.read.values,
    }
    if judged.agreement is not None:
        entry["stored_verdict_agreement"] = judged.agreement
    return entry


def _missing(
    metric: Metric, scenarios: Mapping[str, Mapping[str, Any]], judged: Mapping[str, Judged]
) -> list[str]:
    reasons = []
    for name in metric.scenarios:
        if name not in judged:
            reasons.append(f"{name}: no file")
            continue
        reasons += judged[name].read.gaps
        if scenarios[name]["n"] and scenarios[name]["score"] is None:
            reasons.append(f"{name}: no answer has a value")
    return list(dict.fromkeys(reasons))


def _value(formula: Any, table: Table) -> float | None:
    value = float(evaluate(formula, table)[0])
    return None if math.isnan(value) else value
