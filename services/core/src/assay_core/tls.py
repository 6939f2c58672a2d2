"""TLS of listeners and of calls to other services, from PEM files.

A server certificate that is renewed on disk is used from the next handshake on. A client's is read
when its channel is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import grpc

from assay_core.errors import FailedPrecondition

_SUBJECT_KEYS = ("x509_subject_alternative_name", "x509_common_name")


class ServerFiles(Protocol):
    """The settings of a listener's TLS."""

    @property
    def tls_cert_file(self) -> Path | None:
        """Certificate chain of the server."""

    @property
    def tls_key_file(self) -> Path | None:
        """Its private key."""

    @property
    def tls_client_ca_file(self) -> Path | None:
        """Authority that clients' certificates must come from; None asks for none."""


class PeerFiles(Protocol):
    """The settings of TLS towards other services."""

    @property
    def peer_ca_file(self) -> Path | None:
        """Authority that servers' certificates must come from; None means no TLS."""

    @property
    def peer_cert_file(self) -> Path | None:
        """Certificate chain shown to servers that ask for one."""

    @property
    def peer_key_file(self) -> Path | None:
        """Its private key."""


def server_credentials(files: ServerFiles) -> grpc.ServerCredentials | None:
    """Credentials of a listener; None where no certificate is set.

    Raises:
        FailedPrecondition: If a file is missing or cannot be read; names the setting.
    """
    if files.tls_cert_file is None or files.tls_key_file is None:
        return None
    source = _CertificateSource(files.tls_cert_file, files.tls_key_file, files.tls_client_ca_file)
    return grpc.dynamic_ssl_server_credentials(
        source.read(),
        cast(Any, source.renewed),  # The stubs do not know that None keeps what there is.
        require_client_authentication=files.tls_client_ca_file is not None,
    )


def channel_credentials(files: PeerFiles) -> grpc.ChannelCredentials | None:
    """Credentials of calls; None where no authority is set.

    Raises:
        FailedPrecondition: If a file is missing or cannot be read; names the setting.
    """
    if files.peer_ca_file is None:
        return None
    return grpc.ssl_channel_credentials(
        _read("peer_ca_file", files.peer_ca_file),
        _read("peer_key_file", files.peer_key_file) if files.peer_key_file else None,
        _read("peer_cert_file", files.peer_cert_file) if files.peer_cert_file else None,
    )


def certificate_names(auth_context: Mapping[str, Any]) -> tuple[str, ...]:
    """Names in the client certificate of a call, alternative names first; empty without one.

    gRPC lists them only where the server asked for a certificate and verified it.
    """
    return tuple(
        name.decode("utf-8", "replace")
        for key in _SUBJECT_KEYS
        for name in auth_context.get(key, ())
    )


def require_together(prefix: str, first: Path | None, second: Path | None) -> None:
    """Refuses a certificate without its key, or the other way round.

    Raises:
        ValueError: Names what is missing.
    """
    if (first is None) != (second is None):
        raise ValueError(f"{prefix}_cert_file and {prefix}_key_file belong together")


@dataclass
class _CertificateSource:
    """Reads a server's files again when one of them has changed."""

    cert: Path
    key: Path
    client_ca: Path | None
    _seen: tuple[int, ...] = ()

    def read(self) -> grpc.ServerCertificateConfiguration:
        self._seen = self._changes()
        pair = (_read("tls_key_file", self.key), _read("tls_cert_file", self.cert))
        ca = _read("tls_client_ca_file", self.client_ca) if self.client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], ca)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration, or None to keep the old one; called at each handshake."""
        try:
            if self._changes() == self._seen:
                return None
            return self.read()
        except (OSError, FailedPrecondition):
            # In the middle of a renewal; the old certificate serves until the new one is whole.
            return None

    def _changes(self) -> tuple[int, ...]:
        files = (self.cert, self.key, *([self.client_ca] if self.client_ca else []))
        return tuple(file.stat().st_mtime_ns for file in files if file.exists())


def _read(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise FailedPrecondition(
            f"{setting} names {file.name}, which cannot be read ({error.strerror})",
            field=setting,
            reason="TLS_FILE_UNREADABLE",
            remedy="mount the PEM file there and let this user read it",
        ) from None
