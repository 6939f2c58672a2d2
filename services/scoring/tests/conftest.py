"""Checkpoints made here, and logs that stay silent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from assay_core.logs import configure_logging

sys.path.insert(0, str(Path(__file__).parent))

from tiny_checkpoint import write_checkpoint

configure_logging("tests", "error")


@pytest.fixture(scope="session")
def multi_label(tmp_path_factory):
    return write_checkpoint(
        tmp_path_factory.mktemp("scorers") / "multi",
        labels=["insult", "toxicity", "threat"],
        problem_type="multi_label_classification",
    )


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory):
    return write_checkpoint(
        tmp_path_factory.mktemp("scorers") / "two",
        labels=["neutral", "toxic"],
        problem_type="single_label_classification",
        seed=1,
    )
