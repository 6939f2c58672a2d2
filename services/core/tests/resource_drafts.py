"""Records of a store of things, as the tests of resources make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from assay_core.resources import Draft, JsonField

FIELDS = {
    "model": JsonField("spec.model.uri"),
    "bits": JsonField("spec.bits", "number"),
    "hit": JsonField("status.hit", "boolean"),
}


def draft(name: str, *, request_id: str = "", project: str = "default", **spec: object) -> Draft:
    return Draft(
        id=name, project=project, request_id=request_id, fingerprint=repr(spec), spec=dict(spec)
    )


class Ticks:
    """A clock that moves one second at every look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now
