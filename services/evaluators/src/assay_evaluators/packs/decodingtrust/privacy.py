"""Privacy from a checkout: Enron's people, PII cases drawn from them, phrasings of secrets.

No error and no report of this module shows an address or a name: people are positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from assay_core.errors import AssayError
from assay_evaluators.dimensions.privacy.scenarios import (
    CONTEXT,
    ENRON,
    PII,
    UNDERSTANDING,
    ContextRow,
    EnronRow,
    PiiRow,
    UnderstandingRow,
    pii_facts,
)
from assay_evaluators.packs.decodingtrust.report import ScenarioReport, absent, found
from assay_evaluators.packs.decodingtrust.source import Checkout, damaged_row
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import Row
from assay_evaluators.packs.writing import PackWriter
from assay_evaluators.sdk import gpt2

DIMENSION = "privacy"
FOLDER = "privacy/enron_data"
NAMES = f"{FOLDER}/email2name.json"
CONTEXTS = f"{FOLDER}/context.json"
CASES = f"{FOLDER}/five_shot.json"
EXPECTED_CONTEXT = 3333
EXPECTED_ENRON = 3294
EXPECTED_PII = 100
REPEATS = 100
EXPECTED_UNDERSTANDING = 17 * REPEATS
CONTEXT_CHARACTERS = 1024


def import_privacy(
    checkout: Checkout, prompts: Prompts, writer: PackWriter
) -> list[ScenarioReport]:
    """Writes the three parts; a person, a case and a phrasing are clusters of their scenarios."""
    files = _Files(checkout, writer)
    reports = [
        *_context(checkout, files),
        *_enron(files),
        *_pii(files),
        *_understanding(prompts, files),
    ]
    order = {name: position for position, name in enumerate((*ENRON, *PII, *UNDERSTANDING))}
    return sorted(reports, key=lambda report: order[report.scenario])


@dataclass(frozen=True)
class _Files:
    """What importing a scenario needs: where to read, where to write."""

    checkout: Checkout
    writer: PackWriter

    def lacking(self, *files: str) -> str | None:
        """Why rows cannot be made of some files; None if all are there."""
        gone = [file for file in files if not self.checkout.has(file)]
        return f"data/{gone[0]} is not in the checkout" if gone else None

    def people(self) -> dict[str, tuple[str, str]]:
        """Name and cluster of every address."""
        names = self.checkout.json_object(NAMES)
        return {
            address: (str(name), f"person-{position:04d}")
            for position, (address, name) in enumerate(names.items())
        }

    def write(
        self, file: str, scenarios: Sequence[str], rows: Sequence[Row], expected: int
    ) -> list[ScenarioReport]:
        """Writes rows that several scenarios share."""
        path = f"data/{DIMENSION}/{file}.jsonl"
        self.writer.add_rows(path, rows)
        reports = [found(DIMENSION, scenario, len(rows), expected) for scenario in scenarios]
        for report in reports:
            self.writer.add_scenario(DIMENSION, report.scenario, report.entry(path))
        return reports

    def miss(self, scenarios: Sequence[str], expected: int, reason: str) -> list[ScenarioReport]:
        """Notes scenarios without data."""
        reports = [absent(DIMENSION, scenario, expected, reason) for scenario in scenarios]
        for report in reports:
            self.writer.add_scenario(DIMENSION, report.scenario, report.entry(None))
        return reports


def _context(checkout: Checkout, files: _Files) -> list[ScenarioReport]:
    """The last 50, 100 or 200 GPT-2 tokens of the last 1,024 characters before an address."""
    reason = files.lacking(NAMES, CONTEXTS)
    if reason is None:
        try:
            gpt2.count_tokens("")
        except AssayError as error:
            reason = error.message
    if reason is not None:
        return files.miss(CONTEXT, EXPECTED_CONTEXT, reason)
    people = files.people()
    contexts = checkout.json_object(CONTEXTS)
    coded = [
        gpt2.encode(_text(CONTEXTS, position, text)[-CONTEXT_CHARACTERS:])
        for position, text in enumerate(contexts.values())
    ]
    reports: list[ScenarioReport] = []
    for scenario in CONTEXT:
        tokens = int(scenario.rsplit("-", 1)[1])
        rows = []
        for position, (address, codes) in enumerate(zip(contexts, coded, strict=True)):
            _, cluster = _person(people, address, CONTEXTS, position)
            fields = {"address": address, "prompt": gpt2.decode(codes[-tokens:])}
            rows.append(_row(ContextRow, CONTEXTS, position, cluster, fields))
        name = scenario.removeprefix("enron_")
        reports += files.write(name, (scenario,), rows, EXPECTED_CONTEXT)
    return reports


def _enron(files: _Files) -> list[ScenarioReport]:
    """Settings by the file of their supports; zero-shot takes its people from one-shot."""
    reports: list[ScenarioReport] = []
    for source, kinds in (
        ("one_shot", ("zero-shot", "knownzero-shot", "one-shot")),
        ("five_shot", ("five-shot",)),
        ("one_shot_non_domain", ("one-shot-non-domain",)),
        ("five_shot_non_domain", ("five-shot-non-domain",)),
    ):
        scenarios = [name for name in ENRON if name[len("enron_") : -2] in kinds]
        file = f"{FOLDER}/{source}.json"
        reason = files.lacking(NAMES, file)
        if reason is not None:
            reports += files.miss(scenarios, EXPECTED_ENRON, reason)
            continue
        people = files.people()
        rows = []
        for position, (address, supports) in enumerate(files.checkout.json_object(file).items()):
            name, cluster = _person(people, address, file, position)
            fields = {"address": address, "name": name, "supports": _tuples(supports)}
            rows.append(_row(EnronRow, file, position, cluster, fields))
        reports += files.write(source, scenarios, rows, EXPECTED_ENRON)
    return reports


def _pii(files: _Files) -> list[ScenarioReport]:
    """The first 100 cases, for three shots without those in which the fourth name repeats."""
    reports: list[ScenarioReport] = []
    for shots in (0, 3):
        scenarios = [name for name in PII if pii_facts(name)[1] == shots]
        reason = files.lacking(NAMES, CASES)
        if reason is not None:
            reports += files.miss(scenarios, EXPECTED_PII, reason)
            continue
        people = files.people()
        rows: list[Row] = []
        for case, (address, supports) in enumerate(files.checkout.json_object(CASES).items()):
            _, cluster = _person(people, address, CASES, case)
            fields = {"case": case, "people": _tuples(supports)}
            row = _row(PiiRow, CASES, case, cluster, fields)
            names = [name for _, name in row.people]
            if names[shots] not in names[:shots]:
                rows.append(row)
        reports += files.write(f"pii_{shots}shot", scenarios, rows[:EXPECTED_PII], EXPECTED_PII)
    return reports


def _understanding(prompts: Prompts, files: _Files) -> list[ScenarioReport]:
    """100 repeats of every phrasing; all topics share the rows."""
    phrasings = prompts.texts("privacy.understanding_phrasings")
    rows = [
        UnderstandingRow(
            id=f"phrasing-{phrasing:02d}-{repeat:02d}",
            cluster_id=f"phrasing-{phrasing:02d}",
            phrasing=phrasing,
        )
        for phrasing in range(len(phrasings))
        for repeat in range(REPEATS)
    ]
    return files.write("understanding", UNDERSTANDING, rows, EXPECTED_UNDERSTANDING)


def _row(
    model: type[Any], file: str, position: int, cluster: str, fields: Mapping[str, Any]
) -> Any:
    try:
        return model(id=f"row-{position:04d}", cluster_id=cluster, **fields)
    except (ValidationError, TypeError):
        raise damaged_row(
            file, position + 1, "(entry) lacks an address, a name, a text or well-formed supports"
        ) from None


def _person(
    people: Mapping[str, tuple[str, str]], address: str, file: str, position: int
) -> tuple[str, str]:
    if address not in people:
        raise damaged_row(file, position + 1, "(entry) has an address that email2name.json lacks")
    return people[address]


def _text(file: str, position: int, value: Any) -> str:
    if not isinstance(value, str):
        raise damaged_row(file, position + 1, "(entry) is no text")
    return value


def _tuples(supports: Any) -> Any:
    """Pairs of lists as pairs of tuples; anything else is left to the row's own check."""
    if not isinstance(supports, list):
        return supports
    return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in supports)
