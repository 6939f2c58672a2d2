"""Settings of the command line: `ASSAY_CLI_*`, or `ASSAY_*` where every part shares the word."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from assay_core.errors import InvalidArgument

_PREFIX = "ASSAY_CLI_"
_COMMON_PREFIX = "ASSAY_"


def find_root() -> Path:
    """The checkout this package was installed from (editable), else the current directory."""
    for folder in (*Path(__file__).resolve().parents, *Path(sys.prefix).resolve().parents):
        if (folder / "protos").is_dir() and (folder / "services").is_dir():
            return folder
    return Path.cwd()


class CliSettings(BaseSettings):
    """What the command is told from outside; flags win over the environment."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(default=Path(".assay"), description="Folder of local data, logs, state.")
    project: str = Field(default="", description="Project of new resources; default `default`.")
    token: SecretStr | None = Field(default=None, description="Bearer token shown to servers.")
    peer_ca_file: Path | None = Field(
        default=None, description="PEM authority of the servers; with it calls use TLS."
    )
    peer_cert_file: Path | None = Field(
        default=None, description="PEM certificate chain shown to servers that ask for one."
    )
    peer_key_file: Path | None = Field(default=None, description="PEM private key of it.")
    server: str = Field(default="", description="Coordinator's address HOST:PORT.")
    compression: str = Field(default="", description="Compression's address HOST:PORT.")
    serving: str = Field(default="", description="Serving's address HOST:PORT.")
    evaluators: dict[str, str] = Field(
        default_factory=dict, description="Evaluators' addresses by dimension, as JSON."
    )
    root: Path = Field(default_factory=find_root, description="Checkout with the environments.")
    compression_command: Path | None = Field(
        default=None, description="Program; default ROOT/.venvs/compression/bin/assay-compression."
    )
    serving_command: Path | None = Field(
        default=None, description="Program; default ROOT/.venvs/serving/bin/assay-serving."
    )
    evaluator_command: Path | None = Field(
        default=None, description="Program; default assay-evaluator beside this Python."
    )
    coordinator_command: Path | None = Field(
        default=None, description="Program; default assay-coordinator beside this Python."
    )
    ports: dict[str, int] = Field(
        default_factory=dict,
        description='Fixed local ports by service, as JSON: {"coordinator": 7400}.',
    )
    start_timeout_seconds: float = Field(
        default=180.0, gt=0, description="How long `up` waits for every service."
    )
    grace_seconds: float = Field(
        default=25.0, ge=0, description="Time between SIGTERM and SIGKILL in `down`."
    )
    patience_seconds: float = Field(
        default=120.0, ge=0, description="How long `watch` waits for a server that went away."
    )

    @property
    def peer_token(self) -> SecretStr | None:
        """Bearer token shown to servers, under the name that services use."""
        return self.token

    @field_validator("home", "root")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over own variables over the variables that all parts share."""
        common = EnvSettingsSource(settings_cls, env_prefix=_COMMON_PREFIX)
        return (init_settings, env_settings, common)


def load_settings(**flags: Any) -> CliSettings:
    """Reads settings; flags that are None or empty count as not given.

    Raises:
        InvalidArgument: Names the variable that is wrong, never its value.
    """
    given = {name: value for name, value in flags.items() if value not in (None, "")}
    try:
        return CliSettings(**given)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise InvalidArgument.of(
            name,
            f"is not a valid setting ({problem['msg']})",
            remedy=f"correct {_PREFIX}{name.upper()} or the flag",
        ) from None
