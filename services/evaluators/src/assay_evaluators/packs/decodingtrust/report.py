"""What an import found, expected and missed, scenario by scenario."""

from __future__ import annotations

from dataclasses import dataclass

from assay_evaluators.packs.schema import ScenarioEntry


@dataclass(frozen=True)
class ScenarioReport:
    """One scenario of an import.

    Attributes:
        dimension: Dimension.
        scenario: Scenario.
        rows: Rows found.
        rows_expected: Rows of the full scenario.
        missing: Why rows are missing; None if whole.
        sample: Whether the rows are a cut of the full scenario.
    """

    dimension: str
    scenario: str
    rows: int
    rows_expected: int
    missing: str | None
    sample: bool

    @property
    def is_whole(self) -> bool:
        """Whether every expected row is there."""
        return self.missing is None and not self.sample

    def entry(self, file: str | None) -> ScenarioEntry:
        """The same facts as they stand in `pack.json`."""
        return ScenarioEntry(
            file=file,
            rows=self.rows,
            rows_expected=self.rows_expected,
            missing=self.missing,
            sample=self.sample,
        )


@dataclass(frozen=True)
class ImportReport:
    """An import as a whole.

    Attributes:
        pack_digest: Digest of the written pack.
        out: Where it lies.
        scenarios: Scenario by scenario.
        unverified: Keys of texts that are not those of a published commit.
    """

    pack_digest: str
    out: str
    scenarios: tuple[ScenarioReport, ...]
    unverified: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether no scenario is missing or cut."""
        return all(scenario.is_whole for scenario in self.scenarios)


def found(dimension: str, scenario: str, rows: int, expected: int) -> ScenarioReport:
    """A scenario whose file is there; fewer rows than expected make it a sample."""
    short = rows < expected
    reason = f"{rows} of {expected} rows: the source file is a cut" if short else None
    return ScenarioReport(dimension, scenario, rows, expected, reason, sample=short)


def absent(dimension: str, scenario: str, expected: int, reason: str) -> ScenarioReport:
    """A scenario without data."""
    return ScenarioReport(dimension, scenario, 0, expected, reason, sample=False)
