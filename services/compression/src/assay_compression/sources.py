"""From the names and URIs in requests to paths that this server may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from assay_core.errors import InvalidArgument, NotFound, PermissionDenied, Unimplemented


def resolve(
    uri: str, *, field: str, named: Mapping[str, str], allowed: Sequence[Path], kind: str
) -> Path:
    """Finds the path that a request means.

    Args:
        uri: A name known to the server, a path, or a `file://` URI.
        field: The request field, for errors.
        named: Paths by name; the operator chose them, so they need no prefix.
        allowed: Folders that other paths must lie in, after links are followed.
        kind: `model` or `calibration`, for errors.

    Raises:
        PermissionDenied: The path is outside the allowed folders; it says nothing of what is there.
        Unimplemented: The scheme is not `file`.
        NotFound: Nothing is there.
    """
    if uri in named:
        path = Path(named[uri]).expanduser().absolute()
        return _existing(path, field, kind, f"the file behind {kind} {uri!r} is not there")
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        raise Unimplemented.of(
            field,
            f"has the scheme {parts.scheme[:16]!r}, and this server reads files only",
            remedy="download it and name the folder",
        )
    text = unquote(parts.path) if parts.scheme else uri
    if "\0" in text or parts.netloc:
        raise InvalidArgument.of(field, "is not a path", remedy="use file:///absolute/path")
    path = Path(text).expanduser().absolute().resolve()
    if not any(path.is_relative_to(prefix) for prefix in allowed):
        raise PermissionDenied.of(
            field,
            "lies outside the folders that this server may read",
            reason="URI_NOT_ALLOWED",
            remedy="ask the operator to add its folder to ASSAY_COMPRESSION_MODEL_PREFIXES",
        )
    names = f"; names known here: {', '.join(sorted(named))}" if named else ""
    return _existing(
        path, field, kind, f"names no {kind} on this machine", f"check the path{names}"
    )


def _existing(
    path: Path, field: str, kind: str, problem: str, remedy: str = "check the server's settings"
) -> Path:
    there = path.is_dir() if kind == "model" else path.is_file()
    if not there:
        raise NotFound.of(field, problem, reason=f"{kind.upper()}_NOT_FOUND", remedy=remedy)
    return path
