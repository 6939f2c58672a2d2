"""Settings of a service: flags over environment over YAML file over defaults.

A service subclasses `ServiceSettings` and names itself once:

    class CompressionSettings(ServiceSettings):
        model_config = service_config("compression")
        listen: str = "127.0.0.1:7401"

    settings = load_settings(CompressionSettings, sys.argv[1:])

`ASSAY_COMPRESSION_LISTEN` is then the service's own variable and `ASSAY_LISTEN` the one that all
services share; the flag is `--listen`, the YAML key `listen`.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from assay_core.errors import FieldViolation, InvalidArgument
from assay_core.tls import require_together

COMMON_PREFIX = "ASSAY_"
METRICS_PORT_OFFSET = 100
_LAST_WITH_METRICS = 65535 - METRICS_PORT_OFFSET
DATABASE_FOLDER = "db"
DATA_FOLDER = "data"

_file_values: ContextVar[dict[str, Any] | None] = ContextVar("assay_file_values", default=None)


def service_config(service: str) -> SettingsConfigDict:
    """Model configuration of one service's settings: its variable prefix and its strictness."""
    return SettingsConfigDict(
        env_prefix=f"{COMMON_PREFIX}{service.upper()}_",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        cli_kebab_case=True,
        cli_prog_name=f"assay-{service}",
        cli_hide_none_type=True,
        cli_avoid_json=True,
        env_nested_delimiter="__",
        validate_default=True,
    )


class ServiceSettings(BaseSettings):
    """What every service is told from outside."""

    model_config = service_config("core")

    config: Path | None = Field(
        default=None, description="YAML file with these settings; flags and environment win."
    )
    listen: str = Field(default="127.0.0.1:0", description="gRPC address HOST:PORT; port 0 picks.")
    metrics_listen: str | None = Field(
        default=None,
        description="Prometheus address HOST:PORT, or `off`; default: gRPC port + 100, same host.",
    )
    health_listen: str | None = Field(
        default=None,
        description="Plaintext address HOST:PORT with nothing but gRPC health, for kubelet probes.",
    )
    home: Path = Field(default=Path(".assay"), description="Folder of databases and local data.")
    data_uri: str = Field(default="", description="Object store root; default file://HOME/data.")
    database_url: str = Field(
        default="", description="SQLAlchemy URL; default sqlite file HOME/db/SERVICE.sqlite."
    )
    auth_tokens_file: Path | None = Field(
        default=None,
        description="YAML file of bearer tokens; needed unless the server listens on loopback.",
    )
    peer_token: SecretStr | None = Field(
        default=None, description="Bearer token this service presents to other services."
    )
    tls_cert_file: Path | None = Field(
        default=None, description="PEM certificate chain of the gRPC listener; without it no TLS."
    )
    tls_key_file: Path | None = Field(default=None, description="PEM private key of it.")
    tls_client_ca_file: Path | None = Field(
        default=None, description="PEM authority; clients must then show a certificate from it."
    )
    peer_ca_file: Path | None = Field(
        default=None, description="PEM authority of other services; with it calls use TLS."
    )
    peer_cert_file: Path | None = Field(
        default=None, description="PEM certificate chain this service shows to other services."
    )
    peer_key_file: Path | None = Field(default=None, description="PEM private key of it.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )
    otlp_endpoint: str = Field(
        default="",
        description="OpenTelemetry collector, http://HOST:4317; empty sends no traces.",
    )
    reflection: bool = Field(default=True, description="Serve gRPC reflection.")
    drain_seconds: float = Field(
        default=20.0, ge=0, le=3600, description="Grace for calls in flight after SIGTERM."
    )
    max_connection_age_seconds: float | None = Field(
        default=None, gt=0, description="Close client connections at this age, to rebalance."
    )
    max_connection_age_grace_seconds: float | None = Field(
        default=None, ge=0, description="Grace for calls in flight then; without it drain_seconds."
    )

    @property
    def service(self) -> str:
        """The service's short name: `compression`."""
        prefix = self.model_config.get("env_prefix", "")
        return prefix.removeprefix(COMMON_PREFIX).rstrip("_").lower()

    @property
    def metrics_address(self) -> str | None:
        """Where metrics are served; None when they are off."""
        if self.metrics_listen is not None:
            return None if self.metrics_listen == "off" else self.metrics_listen
        host, port = split_address(self.listen)
        return join_address(host, port + METRICS_PORT_OFFSET if port else 0)

    @field_validator("listen", "metrics_listen", "health_listen")
    @classmethod
    def _is_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        off = value is None or (value == "off" and info.field_name == "metrics_listen")
        if value is not None and not off:
            split_address(value)
        return value

    @field_validator("home")
    @classmethod
    def _is_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _has_whole_key_pairs(self) -> Self:
        require_together("tls", self.tls_cert_file, self.tls_key_file)
        require_together("peer", self.peer_cert_file, self.peer_key_file)
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file")
        return self

    @model_validator(mode="after")
    def _has_a_metrics_port(self) -> Self:
        if self.metrics_listen is None and split_address(self.listen)[1] > _LAST_WITH_METRICS:
            raise ValueError(
                f"metrics_listen must be set where listen's port is above {_LAST_WITH_METRICS}: "
                f"its default is {METRICS_PORT_OFFSET} higher"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _fill_locations(cls, values: dict[str, Any]) -> dict[str, Any]:
        home = Path(values.get("home") or ".assay").expanduser().absolute()
        prefix = cls.model_config.get("env_prefix", "")
        service = prefix.removeprefix(COMMON_PREFIX).rstrip("_").lower()
        database = home / DATABASE_FOLDER / f"{service}.sqlite"
        return values | {
            "data_uri": values.get("data_uri") or (home / DATA_FOLDER).as_uri(),
            "database_url": values.get("database_url") or f"sqlite:///{database}",
        }

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Orders the sources, strongest first; flags are put before these by pydantic-settings."""
        common = EnvSettingsSource(settings_cls, env_prefix=COMMON_PREFIX)
        sources = (init_settings, env_settings, common)
        values = _file_values.get()
        if values is None:
            return sources
        return (*sources, InitSettingsSource(settings_cls, init_kwargs=values))


SettingsT = TypeVar("SettingsT", bound=ServiceSettings)


def load_settings(cls: type[SettingsT], argv: Sequence[str] | None = None) -> SettingsT:
    """Reads settings: flags over environment over `--config FILE` over defaults.

    Args:
        cls: The service's settings class.
        argv: Flags without the program's name; None means none.

    Raises:
        InvalidArgument: Names every setting that is wrong, with its flag; never shows a value.
    """
    arguments = list(argv or ())
    file = _find_config(cls, arguments)
    token = _file_values.set(_read_config(file) if file is not None else None)
    try:
        source: CliSettingsSource[SettingsT] = CliSettingsSource(cls, cli_parse_args=arguments)
        return cls(_cli_settings_source=source)
    except ValidationError as error:
        raise _explain(error) from None
    except SettingsError as error:
        raise InvalidArgument.of("settings", f"cannot be read ({error})") from None
    finally:
        _file_values.reset(token)


def split_address(address: str) -> tuple[str, int]:
    """Splits `HOST:PORT` (IPv6 in brackets).

    Raises:
        ValueError: If it is not of that form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:7400")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """Inverse of `split_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server that listens on `address`."""
    host, _ = split_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _find_config(cls: type[ServiceSettings], argv: Sequence[str]) -> Path | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    named = parser.parse_known_args(argv)[0].config
    for prefix in (cls.model_config.get("env_prefix", ""), COMMON_PREFIX):
        named = named or os.environ.get(f"{prefix}CONFIG")
    if not named:
        return None
    file = Path(named)
    if not file.is_file():
        raise InvalidArgument.of("--config", f"names {file.name}, which is not a file")
    return file


def _read_config(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError):
        values = None
    if not isinstance(values, dict):
        raise InvalidArgument.of(
            "--config", f"names {file.name}, which is not a YAML mapping", remedy="write KEY: VALUE"
        )
    return {str(key): value for key, value in values.items()}


def _explain(error: ValidationError) -> InvalidArgument:
    violations = []
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in problem["loc"]) or "settings"
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            text = "is not a setting"
        violations.append(FieldViolation(name, f"{name} {text[0].lower()}{text[1:]}"))
    return InvalidArgument(
        "; ".join(violation.description for violation in violations),
        reason="INVALID_SETTINGS",
        remedy="see --help for every setting",
        violations=violations,
    )
