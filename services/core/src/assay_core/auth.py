"""Who calls, with which scopes, in which projects: by bearer token or by client certificate.

The tokens file is YAML:

    tokens:
      - name: ci
        sha256: 9f86d0...        # hex SHA-256 of the token; or `token: <the token itself>`,
                                 # or `certificate: <name in the client certificate>` (mTLS)
        scopes: [run]            # read, run (implies read), admin (implies all)
        projects: [default]      # "*" means every project

A file written by a person belongs to one service; a token is compared by digest, so the time a
lookup takes says nothing about the tokens in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from assay_core.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unauthenticated
from assay_core.settings import ServiceSettings, is_loopback

ANY_PROJECT = "*"
DEFAULT_PROJECT = "default"


class Scope(IntEnum):
    """What a token may do; each scope includes the ones below it."""

    READ = 1
    RUN = 2
    ADMIN = 3


# Methods that change nothing, by the first word of their name.
_READ_VERBS = (
    "Get",
    "List",
    "Watch",
    "Describe",
    "Plan",
    "Count",
    "Compare",
    "Pair",
    "Evaluate",
    "Download",
    "Check",
    "ServerReflectionInfo",
)
# Methods that change what other projects see: shared artifacts, packs and engines.
_ADMIN_METHODS = frozenset({"DeleteVariant", "RegisterVariant", "UploadPack"})


def scope_of(method: str) -> Scope:
    """The scope that a method (its bare name) needs."""
    if method in _ADMIN_METHODS:
        return Scope.ADMIN
    return Scope.READ if method.startswith(_READ_VERBS) else Scope.RUN


@dataclass(frozen=True)
class Principal:
    """An authenticated caller."""

    name: str
    scope: Scope
    projects: frozenset[str]

    def may_see(self, project: str) -> bool:
        """Whether the caller may read and use a project's resources."""
        return ANY_PROJECT in self.projects or (project or DEFAULT_PROJECT) in self.projects

    def require_project(self, project: str) -> None:
        """Refuses a project that the token does not list.

        Raises:
            PermissionDenied: If the caller has no access.
        """
        if not self.may_see(project):
            raise PermissionDenied(
                "the token does not give access to this project",
                reason="PROJECT_NOT_ALLOWED",
                field="project",
                remedy="use a token whose `projects` list names it",
            )

    def require_scope(self, scope: Scope) -> None:
        """Refuses a call above the token's scope.

        Raises:
            PermissionDenied: If the scope is too low.
        """
        if self.scope < scope:
            raise PermissionDenied(
                f"the token has scope {self.scope.name.lower()}, this call needs "
                f"{scope.name.lower()}",
                reason="SCOPE_TOO_LOW",
                remedy=f"use a token with scope {scope.name.lower()}",
            )


_CERTIFICATE = "certificate:"
LOCAL = Principal("local", Scope.ADMIN, frozenset({ANY_PROJECT}))

_current: ContextVar[Principal] = ContextVar("assay_principal", default=LOCAL)


def current_principal() -> Principal:
    """The caller of the RPC being served; the process itself outside one."""
    return _current.get()


def set_principal(principal: Principal) -> None:
    """Makes `principal` current in this task and the tasks it starts."""
    _current.set(principal)


class _TokenEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=128)
    token: str | None = Field(default=None, min_length=16)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    certificate: str | None = Field(default=None, min_length=1, max_length=253)
    scopes: tuple[str, ...] = Field(min_length=1)
    projects: tuple[str, ...] = Field(default=(DEFAULT_PROJECT,), min_length=1)

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if sum(each is not None for each in (self.token, self.sha256, self.certificate)) != 1:
            raise ValueError("needs exactly one of `token`, `sha256` and `certificate`")
        known = {scope.name.lower() for scope in Scope}
        if unknown := set(self.scopes) - known:
            raise ValueError(f"has unknown scopes {sorted(unknown)}; known are {sorted(known)}")
        return self

    @property
    def key(self) -> str:
        """What the principal is found by."""
        if self.certificate is not None:
            return _CERTIFICATE + self.certificate
        return self.sha256 or _sha256(self.token or "")


class _TokensFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    tokens: tuple[_TokenEntry, ...] = Field(min_length=1)


class Authenticator:
    """Turns call metadata into a principal.

    Args:
        principals: Principals by hex SHA-256 of their token, or by `certificate:NAME`; None turns
            authentication off.
    """

    def __init__(self, principals: Mapping[str, Principal] | None) -> None:
        self._principals = principals

    @property
    def enabled(self) -> bool:
        """Whether tokens are asked for."""
        return self._principals is not None

    def authenticate(
        self, metadata: Mapping[str, str], certificate_names: Sequence[str] = ()
    ) -> Principal:
        """Identifies the caller from the `authorization` header, else from its certificate.

        Args:
            metadata: Metadata of the call.
            certificate_names: Names in the caller's verified certificate.

        Raises:
            Unauthenticated: If there is neither a known token nor a known certificate.
        """
        if self._principals is None:
            return LOCAL
        if "authorization" not in metadata:
            for name in certificate_names:
                if (principal := self._principals.get(_CERTIFICATE + name)) is not None:
                    return principal
        scheme, _, token = metadata.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(
                "the call has no bearer token",
                reason="TOKEN_MISSING",
                remedy="send the metadata `authorization: Bearer <token>`",
            )
        principal = self._principals.get(_sha256(token))
        if principal is None:
            raise Unauthenticated(
                "the bearer token is not known here",
                reason="TOKEN_UNKNOWN",
                remedy="ask the operator for a token of this service",
            )
        return principal


def authenticator_for(settings: ServiceSettings) -> Authenticator:
    """The authenticator that settings ask for.

    Raises:
        FailedPrecondition: If the server would listen beyond loopback without tokens.
        InvalidArgument: If the tokens file cannot be read; names the entry, never a token.
    """
    if settings.auth_tokens_file is not None:
        return Authenticator(load_tokens(settings.auth_tokens_file))
    if not is_loopback(settings.listen):
        raise FailedPrecondition(
            f"listen is {settings.listen}, which other machines can reach, and no tokens are set",
            field="listen",
            reason="AUTH_REQUIRED",
            remedy="set auth_tokens_file, or listen on 127.0.0.1",
        )
    return Authenticator(None)


def load_tokens(path: Path) -> dict[str, Principal]:
    """Reads a tokens file.

    Raises:
        InvalidArgument: Names the entry and the problem, never a token.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = _TokensFile.model_validate(document).tokens
    except OSError as error:
        raise _unreadable(path, error.strerror or "cannot be opened") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise _unreadable(path, "not YAML") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        problem = first["msg"].removeprefix("Value error, ")
        raise _unreadable(path, f"{where}: {problem}") from None
    return {
        entry.key: Principal(
            entry.name,
            max(Scope[scope.upper()] for scope in entry.scopes),
            frozenset(entry.projects),
        )
        for entry in entries
    }


def _unreadable(path: Path, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"tokens file {path.name} cannot be used ({problem})",
        field="auth_tokens_file",
        reason="TOKENS_FILE_UNREADABLE",
        remedy="see the README of services/core for its form",
    )


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
