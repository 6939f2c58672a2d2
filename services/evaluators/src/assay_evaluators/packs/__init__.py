"""Data packs: one documented schema for the demo pack and for imported DecodingTrust."""

from assay_evaluators.packs.loading import Pack, parse_rows
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import PackManifest, Row, ScenarioEntry
from assay_evaluators.packs.selection import select_rows

__all__ = ["Pack", "PackManifest", "Prompts", "Row", "ScenarioEntry", "parse_rows", "select_rows"]
