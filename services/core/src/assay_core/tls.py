"""TLS of listeners and of calls to other services, from PEM files.

A certificate that is renewed on disk is used from then on: a server's from the next handshake, a
client's from the next call (`assay_core.client`). Nothing has to be restarted.
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


@dataclass
class Renewals:
    """Tells whether one of some files was replaced since it was asked last."""

    files: tuple[Path, ...]
    _seen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.seen()

    @classmethod
    def of_peer(cls, settings: PeerFiles) -> Renewals:
        """Of the files of calls to other services."""
        files = (settings.peer_ca_file, settings.peer_cert_file, settings.peer_key_file)
        return cls(tuple(file for file in files if file is not None))

    def seen(self) -> bool:
        """Whether something changed. Ask before reading: a change while reading is told next."""
        stamps = tuple(_stamp(file) for file in self.files)
        changed = stamps != self._seen
        self._seen = stamps
        return changed


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


class _CertificateSource:
    """Reads a server's files again when one of them has changed."""

    def __init__(self, cert: Path, key: Path, client_ca: Path | None) -> None:
        self._cert = cert
        self._key = key
        self._client_ca = client_ca
        self._renewals = Renewals((cert, key, *([client_ca] if client_ca else [])))

    def read(self) -> grpc.ServerCertificateConfiguration:
        pair = (_read("tls_key_file", self._key), _read("tls_cert_file", self._cert))
        ca = _read("tls_client_ca_file", self._client_ca) if self._client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], ca)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new configuration, or None to keep the old one; called at each handshake."""
        try:
            return self.read() if self._renewals.seen() else None
        except FailedPrecondition:
            # In the middle of a renewal; the old certificate serves until the new one is whole.
            return None


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


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
