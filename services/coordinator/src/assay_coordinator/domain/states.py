"""What may be asked of a study in which state."""

from __future__ import annotations

from dataclasses import dataclass

from assay_core.errors import FailedPrecondition
from assay_core.resources import State

TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
ACTIVE = frozenset({State.QUEUED, State.RUNNING, State.WAITING_FOR_MODEL})


@dataclass(frozen=True)
class Action:
    """A request about a study: where it works, where it is already done, and the way out."""

    name: str
    allowed: frozenset[State]
    done: frozenset[State]
    remedy: str


CANCEL = Action(
    "cancel", ACTIVE | {State.PAUSED}, frozenset({State.CANCELLING, State.CANCELLED}),
    "a study that has ended needs no cancel; delete it to remove it",
)  # fmt: skip
PAUSE = Action(
    "pause", ACTIVE, frozenset({State.PAUSED}), "only a study that is running can be paused"
)
RESUME = Action(
    "resume", frozenset({State.PAUSED, State.CANCELLED, State.FAILED}), ACTIVE,
    "create a new study to run something else",
)  # fmt: skip
DELETE = Action(
    "delete", TERMINAL | {State.PAUSED}, frozenset(), "cancel it and wait until it is CANCELLED"
)


def permits(action: Action, study_id: str, state: State) -> bool:
    """Whether the action has to be carried out; False if it is done already.

    Raises:
        FailedPrecondition: If the state does not allow it.
    """
    if state in action.allowed:
        return True
    if state in action.done:
        return False
    raise FailedPrecondition(
        f"study {study_id} is {state.name} and cannot be {_participle(action.name)}",
        reason="STUDY_STATE",
        remedy=action.remedy,
        metadata={"state": state.name},
        resource=f"study/{study_id}",
    )


def _participle(verb: str) -> str:
    return {"cancel": "cancelled"}.get(verb, f"{verb.removesuffix('e')}ed")
