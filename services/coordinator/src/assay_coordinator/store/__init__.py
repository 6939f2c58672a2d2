"""Durable state of studies: the coordinator's own tables."""

from assay_coordinator.store.studies import StudyStore

__all__ = ["StudyStore"]
