"""External endpoints: OpenAI-compatible servers that an operator has named in the settings.

A request gives the name only. Address, model and the place of the key are the operator's, so no
caller can make this server talk to an address of its choice or learn a key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator

from assay_core.auth import ANY_PROJECT, DEFAULT_PROJECT
from assay_core.digest import digest_of
from assay_core.errors import FailedPrecondition, NotFound
from assay_serving.domain import EXTERNAL, EngineIdentity, EngineSpec

ENDPOINT_PREFIX = "endpoint:"
NAME_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"


class EndpointSettings(BaseModel):
    """One external endpoint, as the operator writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: AnyHttpUrl = Field(description="Base URL, with the version: https://host/v1.")
    model: str = Field(min_length=1, description="What the endpoint calls the model.")
    secret: str = Field(
        default="", description="Where the key is: env:VARIABLE or file:/PATH; empty: no key."
    )
    projects: tuple[str, ...] = Field(
        default=(DEFAULT_PROJECT,), min_length=1, description='Who may use it; "*" is everybody.'
    )
    requests_per_minute: float | None = Field(default=None, gt=0, description="Pace; None: none.")
    max_in_flight: int = Field(default=16, ge=1, le=1024, description="Requests at once.")
    max_retries: int = Field(default=6, ge=0, le=20, description="Of one request (429, 5xx).")
    timeout_seconds: float = Field(default=120.0, gt=0, description="Of one attempt.")
    max_model_len: int = Field(default=0, ge=0, description="Context in tokens; 0: not known.")
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="What chat requests call the limit of new tokens."
    )

    @field_validator("secret")
    @classmethod
    def _is_reference(cls, value: str) -> str:
        if value and not value.startswith(("env:", "file:/")):
            raise ValueError("must be env:VARIABLE or file:/PATH, never the key itself")
        return value

    def key(self) -> SecretStr:
        """The key, read anew each time so that a rotated one is used.

        Raises:
            FailedPrecondition: The reference leads nowhere; names the reference, never a key.
        """
        kind, _, place = self.secret.partition(":")
        try:
            found = os.environ[place] if kind == "env" else Path(place).read_text().strip()
        except (KeyError, OSError):
            found = "" if self.secret else "none"
        if not found:
            raise FailedPrecondition(
                f"the key of the endpoint is not at {self.secret}",
                reason="ENDPOINT_KEY_MISSING",
                field="endpoint",
                remedy="ask the operator to set it for the serving process",
            )
        return SecretStr(found)


@dataclass(frozen=True)
class Endpoint:
    """A named endpoint as something that can be made resident."""

    name: str
    settings: EndpointSettings

    @property
    def uri(self) -> str:
        """What its model records show instead of an artifact's URI."""
        return f"{ENDPOINT_PREFIX}{self.name}"

    @property
    def digest(self) -> str:
        """Identity of what answers, as far as it is known: address and model name, not weights."""
        return digest_of(
            {"endpoint": self.name, "url": str(self.settings.url), "model": self.settings.model}
        )

    @property
    def location(self) -> str:
        """See `Loadable`."""
        return self.name

    def verify(self) -> None:
        """See `Loadable`: there are no files; loading draws a token."""

    @property
    def spec(self) -> EngineSpec:
        """An engine that is not ours: nothing of it can be set up."""
        return EngineSpec(
            dtype="",
            kv_cache_dtype="",
            max_model_len=self.settings.max_model_len,
            device=EXTERNAL,
        )

    @property
    def identity(self) -> EngineIdentity:
        """Two results of one endpoint are comparable as far as its operator keeps it the same."""
        return EngineIdentity(
            family=EXTERNAL,
            version="",
            dtype="",
            kv_cache_dtype="",
            max_model_len=self.settings.max_model_len,
            device_class=EXTERNAL,
        )


def find_endpoint(endpoints: dict[str, EndpointSettings], name: str, project: str) -> Endpoint:
    """The endpoint of a name, if the project may use it.

    Raises:
        NotFound: There is none for this project.
    """
    open_to = {
        known: settings
        for known, settings in endpoints.items()
        if {project, ANY_PROJECT}.intersection(settings.projects)
    }
    if name not in open_to:
        choices = f"use one of {', '.join(sorted(open_to))}, or " if open_to else ""
        raise NotFound.of(
            "endpoint",
            "names no endpoint of this project",
            reason="ENDPOINT_NOT_FOUND",
            remedy=f"{choices}ask the operator to add it to ASSAY_SERVING_ENDPOINTS",
        )
    return Endpoint(name, open_to[name])
