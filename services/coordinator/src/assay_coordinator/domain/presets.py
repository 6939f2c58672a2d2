"""Presets of a study file: dimensions, profiles, parsers and rows by one word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assay_core.errors import FieldViolation

# The eight trust dimensions of the paper and MMLU, in the order of its tables.
PAPER_DIMENSIONS = (
    "stereotype", "toxicity", "privacy", "fairness", "advglue", "ood", "adv_demonstration",
    "ethics", "utility",
)  # fmt: skip

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "smoke": {"dimensions": ["stereotype", "fairness", "ethics"], "row_limit": 8},
    "paper-quick": {
        "dimensions": list(PAPER_DIMENSIONS),
        "sampling_profile": "paper",
        "parser_versions": ["assay-2026", "ct-2024-02"],
        "row_limit": 100,
    },
    "paper-full": {
        "dimensions": list(PAPER_DIMENSIONS),
        "sampling_profile": "paper",
        "parser_versions": ["assay-2026", "ct-2024-02", "dt-2024-09"],
    },
}


def with_preset(document: Mapping[str, Any], violations: list[FieldViolation]) -> dict[str, Any]:
    """The file with what its preset fills in; what the file says itself wins."""
    own = {key: value for key, value in document.items() if key != "preset"}
    if "preset" not in document:
        return own
    preset = document["preset"]
    if not isinstance(preset, str) or preset not in PRESETS:
        known = ", ".join(sorted(PRESETS))
        violations.append(FieldViolation("preset", f"is not one of {known}"))
        return own
    return {**PRESETS[preset], **own}
