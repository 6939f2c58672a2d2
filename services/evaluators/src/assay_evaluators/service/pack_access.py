"""Which packs a request may name, and opening them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from assay_core.errors import InvalidArgument
from assay_evaluators.packs.loading import Pack


class PackAccess:
    """Opens packs by name or by a path or URI below an allowed prefix.

    Args:
        named: Packs by name.
        prefixes: Allowed paths and URIs.
    """

    def __init__(self, named: Mapping[str, str], prefixes: Sequence[str]) -> None:
        self._named = dict(named)
        self._prefixes = tuple(prefixes)

    def open(self, uri: str, digest: str = "") -> Pack:
        """Opens a pack. Blocks.

        Raises:
            InvalidArgument: If `uri` is neither a known name nor below an allowed prefix.
            NotFound: If there is no pack.
            DataLoss: If its digest is another one.
        """
        return Pack.open(self._named.get(uri) or self._allowed(uri), digest=digest)

    def _allowed(self, uri: str) -> str:
        local = _local_path(uri)
        for prefix in self._prefixes:
            below = _local_path(prefix)
            if local is not None and below is not None:
                if local.is_relative_to(below):
                    return str(local)
            elif local is None and below is None and ".." not in uri:
                root = prefix.rstrip("/")
                if uri == root or uri.startswith(f"{root}/"):
                    return uri
        raise InvalidArgument.of(
            "spec.pack.uri",
            "is neither a known pack nor below an allowed prefix",
            remedy="use a name of --packs, or have the operator add the place to --pack-prefixes",
            reason="PACK_NOT_ALLOWED",
        )


def _local_path(uri: str) -> Path | None:
    """The path of a local URI with links followed; None if it is remote."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://")).resolve()
    return None if "://" in uri else Path(uri).expanduser().resolve()
