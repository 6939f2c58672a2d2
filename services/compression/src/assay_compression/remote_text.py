"""Calibration text in an object store: allowed, fetched whole, and kept under its digest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from assay_compression.calibration import SIZE_LIMIT
from assay_core.digest import hex_of, sha256_bytes
from assay_core.errors import (
    AssayError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unimplemented,
)
from assay_core.publication import partial_of
from assay_core.storage import ObjectStore, lies_below

# Object stores by fsspec. Web addresses are not among them: what they answer may change at will.
SCHEMES = ("s3", "gs", "gcs", "az", "abfs", "memory")
_FIELD = "calibration.source"


def is_remote(source: str) -> bool:
    """Whether a calibration source is the URI of an object."""
    return urlsplit(source).scheme in SCHEMES


def fetch(source: str, allowed: Sequence[str], cache: Path) -> Path:
    """Fetches the text; the same content is one file, under the name that the object has.

    Args:
        source: URI of the object.
        allowed: URI prefixes that may be read; `*` allows all.
        cache: Folder of fetched texts.

    Raises:
        PermissionDenied: The URI lies outside the allowed prefixes.
        Unimplemented: The scheme's driver is not installed.
        NotFound: There is no such object.
        InvalidArgument: It is too large, or the URI names no object.
        FailedPrecondition: The store does not let it be read.
    """
    folder, _, name = source.rpartition("/")
    if not name or ".." in source.split("/") or folder.endswith(":/"):
        raise InvalidArgument.of(
            _FIELD, "names no object", remedy="use s3://bucket/path/file.jsonl"
        )
    if not ("*" in allowed or lies_below(source, allowed)):
        raise PermissionDenied.of(
            _FIELD,
            "lies outside the places that this server may read",
            reason="URI_NOT_ALLOWED",
            remedy="ask the operator to add its prefix to ASSAY_COMPRESSION_MODEL_PREFIXES",
        )
    data = _read(_store(folder), name)
    target = cache / hex_of(sha256_bytes(data)) / name
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(target)
        partial.write_bytes(data)
        partial.replace(target)
    return target


def _store(folder: str) -> ObjectStore:
    try:
        return ObjectStore(folder, field=_FIELD)
    except InvalidArgument as error:
        scheme = urlsplit(folder).scheme
        raise Unimplemented.of(
            _FIELD,
            f"has the scheme {scheme!r}, whose driver is not installed here",
            remedy="install its fsspec driver (adlfs) beside the service, or pass a file",
        ) from error


def _read(store: ObjectStore, name: str) -> bytes:
    try:
        if store.size(name) > SIZE_LIMIT:
            raise InvalidArgument.of(
                _FIELD, f"has more than {SIZE_LIMIT >> 20} MiB", remedy="pass an excerpt"
            )
        return store.read_bytes(name)
    except NotFound as error:
        if error.field == _FIELD:  # The bucket is not there, and the error says so.
            raise
        raise NotFound.of(
            _FIELD, "names no object", reason="CALIBRATION_NOT_FOUND", remedy="check the URI"
        ) from error
    except AssayError:
        raise
    except Exception as error:  # Each driver raises the errors of its own client library.
        raise FailedPrecondition.of(
            _FIELD,
            f"cannot be read from its store ({type(error).__name__})",
            reason="CALIBRATION_UNREADABLE",
            remedy="check the service's credentials for it and the network",
        ) from error
