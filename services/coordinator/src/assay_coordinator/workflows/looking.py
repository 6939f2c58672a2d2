"""Evaluate a variant in growing blocks of rows, and stop where a look decides.

The reference is evaluated in full, because every variant is compared with it. A look asks the
evaluator for more rows of the same evaluation: generations of a smaller limit are a subset of those
of a larger one, so a look costs only its new rows, and a restart after a crash finds the others.
"""

from __future__ import annotations

from assay_coordinator.domain.progress import EvaluationStatus, Look
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.workflows.comparing import at_a_look
from assay_coordinator.workflows.context import VariantWork
from assay_coordinator.workflows.following import follow_evaluation
from assay_coordinator.workflows.leases import LeaseKeeper
from assay_core.pb import evaluation_pb2


async def evaluate_in_looks(
    work: VariantWork,
    spec: evaluation_pb2.EvaluationSpec,
    status: EvaluationStatus,
    keeper: LeaseKeeper | None,
    *,
    repeat: int,
) -> None:
    """Bring one evaluation to the look that decides, or to all its rows.

    Args:
        work: The variant; not a reference.
        spec: What to evaluate, with the row limit that nothing exceeds.
        status: The evaluation's status so far.
        keeper: Where leases come from; None if no model should be needed.
        repeat: As of `follow_evaluation`.
    """
    stopping = work.run.spec.early_stopping
    rows = max(status.planned_rows.values(), default=0)
    limits = stopping.limits(rows) if stopping is not None else [rows]
    looks: list[Look] = []
    for limit in limits[:-1]:
        block = evaluation_pb2.EvaluationSpec()
        block.CopyFrom(spec)
        block.row_limit = limit
        status = await follow_evaluation(work, block, status, keeper, repeat=repeat, look=limit)
        score = status.score(work.run.spec.main_parser)
        if score is None:
            break
        looks.append(
            Look(
                row_limit=limit,
                verdicts_uri=score.verdicts_uri,
                verdicts_digest=score.verdicts_digest,
            )
        )
        status = status.model_copy(update={"looks": tuple(looks)})
        verdict = await at_a_look(work.context, work.run, work.status, status)
        if verdict in (Verdict.PASS, Verdict.FAIL):
            stopped = status.model_copy(update={"state": "SUCCEEDED", "stopped_early": True})
            await work.put_evaluation(stopped)
            saved = max(0, rows - limit)
            text = f"decided ({verdict}) at {limit} rows per scenario, {saved} were not needed"
            await work.say(f"{work.key}: {status.dimension} {text}")
            return
    await follow_evaluation(work, spec, status, keeper, repeat=repeat)
