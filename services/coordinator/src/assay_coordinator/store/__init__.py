"""Durable state of studies: their records and the coordinator's own tables."""

from assay_coordinator.store.records import (
    ReportFile,
    StudyPage,
    StudyRecord,
    StudyRecords,
    StudyStatus,
)
from assay_coordinator.store.studies import Event, StudyStore

__all__ = [
    "Event",
    "ReportFile",
    "StudyPage",
    "StudyRecord",
    "StudyRecords",
    "StudyStatus",
    "StudyStore",
]
