"""The values that readers of existing generation files work with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from assay_core.aggregation import Table
from assay_evaluators.existing.files import Tree
from assay_evaluators.existing.source import Source
from assay_evaluators.sdk.types import Parsed, Sample


class Layout(StrEnum):
    """Who wrote a file: the published data set, or a run of DecodingTrust."""

    ARCHIVE = "archive"
    RUN = "run"


class Role(StrEnum):
    """What a known file is."""

    GENERATIONS = "generations"
    LABELS = "labels"
    DERIVED = "derived"
    UNSCORED = "unscored"


@dataclass(frozen=True)
class Located:
    """A file that a reader knows.

    Attributes:
        tree: The folder it lies in.
        path: Relative to the folder of the dimension.
        layout: Archive or run.
        model: Name of the model in folder or file name; empty if the file serves all models.
        role: What it is.
        scenario: Scenario, where the path says it.
        part: What the path says beyond that: topic, seed.
        reason: Why it is not scored (`Role.UNSCORED`).
    """

    tree: Tree
    path: str
    layout: Layout
    model: str
    role: Role = Role.GENERATIONS
    scenario: str = ""
    part: str = ""
    reason: str = ""


@dataclass
class FileReport:
    """What became of the rows of one file.

    Attributes:
        path: Relative to the folder of the dimension.
        layout: Archive or run.
        scenario: Scenario; empty if the file belongs to none.
        rows_expected: Rows of a whole file.
        rows_found: Records in the file.
        rows_joined: Records that are scored.
        rejected: Records that are not, by reason.
    """

    path: str
    layout: Layout
    scenario: str
    rows_expected: int
    rows_found: int = 0
    rows_joined: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion of a file.

    Attributes:
        sample: The sample it answers.
        index: Which completion of the sample.
        text: What the model wrote.
        stored: The verdict that the original stored beside it, in the words of our parser, empty
            for none; None where nothing is stored. Never an input of a score.
        judged: Verdict and value where there is no text to parse (MMLU, overlength prompts).
    """

    sample: Sample
    index: int
    text: str
    stored: str | None = None
    judged: tuple[Parsed, float | None] | None = None


@dataclass
class ScenarioRead:
    """What was found of a scenario.

    Attributes:
        scenario: Scenario.
        n_expected: Samples of a whole scenario.
        answers: Completions.
        gaps: Why it is not whole; empty if it is.
        values: Sub-values that the reader itself knows.
    """

    scenario: str
    n_expected: int
    answers: list[Answer] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Samples with at least one completion."""
        return len({answer.sample.id for answer in self.answers})


@dataclass(frozen=True)
class TheirNumber:
    """A number in a derived file of the original, and which of ours it is.

    Attributes:
        path: Keys in their object.
        key: Path in our document, for example `("scenarios", "benign", "score")`.
        scale: What brings the stored number to our unit.
        label: Its name for people; empty means the keys of `path`.
    """

    path: tuple[str, ...]
    key: tuple[str, ...]
    scale: float = 1.0
    label: str = ""


@dataclass(frozen=True)
class Details:
    """Values of the original beside the score.

    Attributes:
        scenarios: By scenario and name.
        overall: By name.
    """

    scenarios: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    overall: Mapping[str, float | None] = field(default_factory=dict)


class Reader(ABC):
    """Reads what DecodingTrust stores of one dimension (specification, section 11)."""

    dimension: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]
    """Names of the dimension's folder in `data/` and `results/`."""
    needs_rows: ClassVar[bool] = True
    """Whether generations are joined with rows of a data pack."""

    @abstractmethod
    def locate(self, tree: Tree, path: str) -> Sequence[Located]:
        """What a file is; several entries if it holds several models; none if unknown."""

    @abstractmethod
    def read(
        self, files: Sequence[Located], source: Source
    ) -> tuple[list[ScenarioRead], list[FileReport]]:
        """Reads the generations and label files of one model."""

    def numbers(self, record: Mapping[str, Any], model: str) -> list[TheirNumber]:
        """Which numbers an object of a derived file may hold of a model."""
        del record, model
        return []

    def metric_id(self, version: str) -> str:
        """The metric that a parser version is published with; empty means the default one."""
        del version
        return ""

    def details(self, version: str, table: Table, present: Sequence[str]) -> Details:
        """Further values of the original, from the scored table."""
        del version, table, present
        return Details()

    def rounded_refusal(self, rates: Mapping[str, float]) -> float | None:
        """The refusal rate with the original's intermediate rounding, if it rounds."""
        del rates
        return None


_FULL_NAMES = {
    "gpt3": "gpt-3.5-turbo-0301",
    "gpt3.5": "gpt-3.5-turbo-0301",
    "gpt4": "gpt-4-0314",
}


def full_name(model: str) -> str:
    """The model that a short name of the published files means."""
    return _FULL_NAMES.get(model, model)


def text_of(response: Any, index: int = 0) -> str | None:
    """Text of a choice of a stored response (chat or completion style); None if there is none."""
    try:
        choice = response["choices"][index]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
    except (KeyError, IndexError, TypeError):
        return None
    return text if isinstance(text, str) else None


def last_user_message(messages: Any) -> str | None:
    """Content of the last user message; None if there is none."""
    if not isinstance(messages, list):
        return None
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            return content if isinstance(content, str) else None
    return None
