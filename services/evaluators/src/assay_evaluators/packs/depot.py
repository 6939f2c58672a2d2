"""Packs kept in the object store by content: `packs/<hex of the digest>/`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter, ValidationError

from assay_core.digest import hex_of
from assay_core.errors import InvalidArgument, NotFound, ResourceExhausted
from assay_core.storage import ObjectStore
from assay_evaluators.packs.checking import check_pack
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.schema import MANIFEST_FILE, PackPath

FOLDER = "packs"
MAX_PACK_BYTES = 4 * 1024**3
"""DecodingTrust with every generation prompt is below a tenth of it."""

_PATH: TypeAdapter[str] = TypeAdapter(PackPath)


class PackDepot:
    """Uploaded packs. All methods block.

    Args:
        store: The object store.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def receive(self) -> Upload:
        """Starts an upload."""
        return Upload(self)

    def keep(self, folder: Path) -> Pack:
        """Checks a pack on this machine and keeps it; one that is there already is left alone.

        Raises:
            AssayError: Names the file, and the line of a broken row.
        """
        digest = check_pack(str(folder)).pack.digest
        self._store.upload_tree(folder, self._prefix(digest), move=True, last=MANIFEST_FILE)
        return self.get(digest)

    def get(self, digest: str) -> Pack:
        """A pack by digest.

        Raises:
            NotFound: If there is none.
        """
        prefix = self._prefix(digest)
        if not self._store.exists(self._store.join(prefix, MANIFEST_FILE)):
            raise NotFound(
                "no pack of this digest was uploaded",
                reason="PACK_NOT_FOUND",
                field="digest",
                remedy="list the packs there are (ListPacks), or upload it",
            )
        return Pack.open(self.uri(digest), digest=digest)

    def digests(self) -> list[str]:
        """Digests of all packs, sorted."""
        found = (key.split("/") for key in self._store.list(FOLDER))
        return sorted(f"sha256:{parts[1]}" for parts in found if parts[2:] == [MANIFEST_FILE])

    def uri(self, digest: str) -> str:
        """Where a pack lies; studies may name it."""
        return self._store.uri_of(self._prefix(digest))

    def _prefix(self, digest: str) -> str:
        return self._store.join(FOLDER, hex_of(digest))


class Upload:
    """A pack that arrives piece by piece, in a folder that goes with the upload."""

    def __init__(self, depot: PackDepot) -> None:
        self._depot = depot
        self._folder = Path(tempfile.mkdtemp(prefix="assay-pack-"))
        self._received: set[str] = set()
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, path: str, chunk: bytes) -> None:
        """Adds bytes to the end of a file.

        Raises:
            InvalidArgument: If `path` leaves the pack.
            ResourceExhausted: If the pack is larger than any.
        """
        try:
            _PATH.validate_python(path)
        except ValidationError:
            raise InvalidArgument.of(
                "path", "leaves the pack", remedy="use a relative path without '..'"
            ) from None
        self._bytes += len(chunk)
        if self._bytes > MAX_PACK_BYTES:
            raise ResourceExhausted(
                f"the pack is larger than {MAX_PACK_BYTES // 1024**3} GiB",
                field="chunk",
                reason="PACK_TOO_LARGE",
                remedy="copy it below the data root and name it there",
            )
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as stream:
            stream.write(chunk)
        self._received.add(path)

    def finish(self) -> Pack:
        """Checks what arrived and keeps it.

        Raises:
            InvalidArgument: If a file arrived that the manifest does not name.
            NotFound: If a file of the manifest did not arrive.
            AssayError: Whatever else is wrong with the pack, with file and line.
        """
        known = {MANIFEST_FILE, *Pack.open(str(self._folder)).manifest.files}
        strangers = sorted(self._received - known)
        if strangers:
            raise InvalidArgument.of(
                "path",
                f"{strangers[0]} is not named in {MANIFEST_FILE}",
                remedy="upload the files of the manifest only",
                reason="PACK_FILE_UNKNOWN",
            )
        return self._depot.keep(self._folder)
