"""Which packs a request may name, and opening them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from assay_core.errors import InvalidArgument, NotFound
from assay_core.storage import ObjectStore
from assay_evaluators.packs.depot import PackDepot
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.team_prompts import PROMPT_FILES, read_prompts, write_prompts_pack


class PackAccess:
    """Opens packs by name or by a path or URI below an allowed prefix.

    Args:
        named: Packs by name.
        prefixes: Allowed paths and URIs.
        depot: Where a file of prompts is kept as the pack that it stands for.
    """

    def __init__(self, named: Mapping[str, str], prefixes: Sequence[str], depot: PackDepot) -> None:
        self._named = dict(named)
        self._prefixes = tuple(prefixes)
        self._depot = depot

    def open(self, uri: str, digest: str = "") -> Pack:
        """Opens a pack. Blocks.

        Raises:
            InvalidArgument: If `uri` is neither a known name nor below an allowed prefix.
            NotFound: If there is no pack.
            DataLoss: If its digest is another one.
        """
        place = self._named.get(uri) or self._allowed(uri)
        if place.endswith(PROMPT_FILES):
            return self._of_prompts(place, digest)
        return Pack.open(place, digest=digest)

    def _of_prompts(self, uri: str, digest: str) -> Pack:
        """The pack that a file of prompts stands for; made once, and read again by its digest.

        A file that changed under the digest of its pack is of no account to what runs with that.
        """
        if digest:
            try:
                return self._depot.get(digest)
            except NotFound:
                pass
        folder, _, name = uri.rpartition("/")
        content = read_prompts(ObjectStore(folder or "/", field="pack.uri"), name)
        with TemporaryDirectory(prefix="assay-prompts-") as scratch:
            out = Path(scratch) / "pack"
            write_prompts_pack(content, name, out)
            pack = self._depot.keep(out)
        return Pack.open(self._depot.uri(pack.digest), digest=digest)

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
    """The path of a local URI with links followed; None if it is remote.

    Raises:
        InvalidArgument: If there can be no such path: a home of nobody, a loop of links, a NUL.
    """
    try:
        if uri.startswith("file://"):
            return Path(uri.removeprefix("file://")).resolve()
        return None if "://" in uri else Path(uri).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        raise InvalidArgument.of(
            "spec.pack.uri", "is not a path", remedy="use a name of --packs, a path, or a URI"
        ) from None
