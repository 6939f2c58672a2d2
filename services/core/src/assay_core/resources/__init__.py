"""Durable resources: the records behind variants, models, evaluations and studies.

Every service keeps its long-running work in a `ResourceStore`, its own table in its own database:
idempotent creation, guarded state changes, paged lists, and watching.
"""

from assay_core.resources.filters import JsonField
from assay_core.resources.model import (
    TERMINAL,
    Draft,
    Page,
    Progress,
    Record,
    State,
    can_move,
    meta_of,
)
from assay_core.resources.store import ResourceStore

__all__ = [
    "TERMINAL",
    "Draft",
    "JsonField",
    "Page",
    "Progress",
    "Record",
    "ResourceStore",
    "State",
    "can_move",
    "meta_of",
]
