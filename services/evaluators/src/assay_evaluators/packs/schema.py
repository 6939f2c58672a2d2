"""Schema 1 of a data pack: `pack.json`, and the facts every row has.

A pack is a directory or URI with `pack.json`, `prompts.json` and `data/<dimension>/<file>.jsonl`.
The digest of a pack is the digest of its canonical `pack.json`, which names the digest of every
file; so one string stands for every byte of the pack.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from assay_core.digest import is_digest

MANIFEST_FILE = "pack.json"
PROMPTS_FILE = "prompts.json"


def _digest(text: str) -> str:
    if not is_digest(text):
        raise ValueError("must be of the form sha256:<64 hex>")
    return text


def _inside(path: str) -> str:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise ValueError("must be a relative path inside the pack")
    return path


Digest = Annotated[str, AfterValidator(_digest)]
PackPath = Annotated[str, AfterValidator(_inside)]


class Strict(BaseModel):
    """Base of everything read from a pack: unknown fields are mistakes, values never change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True
    )


class Row(Strict):
    """A row of a scenario; dimensions add their own fields.

    Attributes:
        id: Stable id, unique in the scenario.
        cluster_id: The source item; rows of any scenario that come from it share it.
    """

    id: str = Field(min_length=1, max_length=200)
    cluster_id: str = Field(min_length=1, max_length=200)


class FileEntry(Strict):
    """A file of the pack."""

    digest: Digest
    bytes: int = Field(ge=0)
    rows: int | None = Field(default=None, ge=0)


class ScenarioEntry(Strict):
    """What the pack has of a scenario.

    Attributes:
        file: The rows; None if there are none.
        rows: Rows in the file.
        rows_expected: Rows of the full scenario.
        missing: Why rows are missing; None if whole.
        sample: Whether the rows are a cut of the full scenario.
    """

    file: PackPath | None = None
    rows: int = Field(ge=0)
    rows_expected: int = Field(ge=0)
    missing: str | None = None
    sample: bool = False

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.file is None and self.rows:
            raise ValueError("has rows but no file")
        if self.file is None and not self.missing:
            raise ValueError("has no file and no reason in `missing`")
        return self


class DimensionEntry(Strict):
    """What the pack has of a dimension."""

    scenarios: dict[str, ScenarioEntry]


class PackManifest(Strict):
    """`pack.json`.

    Attributes:
        schema_version: 1 (key `schema`).
        name: Short name.
        version: Version of the content.
        licence: Licence of the texts.
        attribution: Whom the licence asks to name.
        display: Whether texts may be shown to people (`ListExamples`, reports).
        source: Where the texts come from.
        files: Every file but `pack.json`.
        dimensions: Scenarios by dimension.
    """

    schema_version: Literal[1] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    version: str = Field(min_length=1, max_length=64)
    licence: str
    attribution: str
    display: Literal["allow", "deny"] = "deny"
    source: str
    files: dict[PackPath, FileEntry]
    dimensions: dict[str, DimensionEntry]

    @model_validator(mode="after")
    def _files_exist(self) -> Self:
        for dimension, entry in self.dimensions.items():
            for scenario, facts in entry.scenarios.items():
                if facts.file is not None and facts.file not in self.files:
                    raise ValueError(f"{dimension}.{scenario} names a file that `files` lacks")
        if PROMPTS_FILE not in self.files:
            raise ValueError(f"`files` lacks {PROMPTS_FILE}")
        return self
