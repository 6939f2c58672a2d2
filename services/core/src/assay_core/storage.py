"""The object store by URI: `file://`, `memory://`, `s3://`, `gs://` through fsspec.

Keys are relative paths with `/` below the store's root; a URI below the root is accepted wherever
a key is. Publication is atomic to readers: on `file://` by rename, elsewhere a single object by
one PUT, and a tree by writing its manifest last. Of a remote store every method may also raise
what `assay_core.storage_errors` says: no bucket, no access, no answer; of a local one those that
read, FailedPrecondition where this process has no access.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from assay_core.digest import canonical_json
from assay_core.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from assay_core.manifest import MANIFEST_NAME
from assay_core.publication import is_partial, move_or_copy, partial_of, publish_directory
from assay_core.storage_errors import local_errors, remote_errors

_PROBE = ".assay-probe"


def lies_below(uri: str, prefixes: Iterable[str]) -> bool:
    """Whether a URI is one of the prefixes or lies below one; whole parts of a path only."""
    return any(uri == prefix or uri.startswith(prefix.rstrip("/") + "/") for prefix in prefixes)


class ObjectStore:
    """A tree of immutable objects under one root URI.

    All methods block; call them from a worker thread in async code (`asyncio.to_thread`).

    Args:
        uri: Root, for example `file:///var/lib/assay/data` or `s3://bucket/prefix`; a plain path
            means `file://`.
        options: Options of the fsspec file system (endpoint, credentials profile).
        field: Setting or request field that the URI came from, for error messages.

    Raises:
        InvalidArgument: If no installed fsspec driver knows the scheme.
    """

    def __init__(
        self, uri: str, *, options: Mapping[str, Any] | None = None, field: str = "data_uri"
    ) -> None:
        if "://" not in uri:
            try:
                uri = Path(uri).expanduser().absolute().as_uri()
            except RuntimeError:
                raise InvalidArgument.of(
                    field, "names the home of a user that is not there", remedy="write it out"
                ) from None
        try:
            # Other processes write too: a cached listing would hide what they published.
            given = {"use_listings_cache": False, **(options or {})}
            self._fs, root = fsspec.core.url_to_fs(uri, **given)
        except (ValueError, ImportError) as error:
            scheme = uri.split("://", 1)[0]
            raise InvalidArgument.of(
                field,
                f"has the scheme {scheme!r}, which no installed driver reads",
                remedy="use file://, s3:// or gs://, or install the scheme's fsspec driver",
            ) from error
        self._root = str(root).rstrip("/")
        self._local = isinstance(self._fs, LocalFileSystem)
        protocol = self._fs.protocol
        self._scheme = protocol if isinstance(protocol, str) else protocol[0]
        self._field = field
        self.uri = uri.rstrip("/")

    def __repr__(self) -> str:
        return f"ObjectStore({self.uri!r})"

    # -- names -----------------------------------------------------------------------------------

    @property
    def fs(self) -> Any:
        """The fsspec file system, for libraries that take one (pyarrow, pandas, polars)."""
        return self._fs

    @property
    def is_local(self) -> bool:
        """Whether objects are files of this machine."""
        return self._local

    def join(self, *parts: str) -> str:
        """Joins parts to a key.

        Raises:
            InvalidArgument: If a part climbs out of the store (`..`) or is absolute.
        """
        return self._key("/".join(part.strip("/") for part in parts if part.strip("/")))

    def uri_of(self, key: str) -> str:
        """The full URI of a key, as it travels in messages."""
        relative = self._key(key)
        return f"{self.uri}/{relative}" if relative else self.uri

    def path_of(self, key: str) -> str:
        """The path of a key in `fs`'s own terms."""
        relative = self._key(key)
        return f"{self._root}/{relative}" if relative else self._root

    def local_path(self, key: str) -> Path:
        """The file or directory of a key on this machine; it need not exist.

        Raises:
            FailedPrecondition: If the store is remote.
        """
        if not self._local:
            raise FailedPrecondition(
                f"{self.uri_of(key)} is not on this machine",
                reason="NOT_LOCAL",
                remedy="download it first (ObjectStore.download)",
            )
        return Path(self.path_of(key))

    def check(self) -> None:
        """Asks a remote store whether it lets this process in, with one request.

        For the start of a service: a wrong setting is seen there, and not after hours of work.

        Raises:
            NotFound: If there is no such bucket.
            FailedPrecondition: If the store refuses this process.
            Unavailable: If it does not answer.
        """
        if not self._local:
            self.list(_PROBE)

    # -- single objects --------------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Whether an object, or anything below the key, exists."""
        with self._errors(key):
            return bool(self._fs.exists(self.path_of(key)))

    def size(self, key: str) -> int:
        """Bytes of an object.

        Raises:
            NotFound: If there is none.
        """
        with self._errors(key):
            return int(self._fs.size(self.path_of(key)))

    def read_bytes(self, key: str) -> bytes:
        """Reads an object whole.

        Raises:
            NotFound: If there is none.
        """
        with self._errors(key):
            return cast(bytes, self._fs.cat_file(self.path_of(key)))

    def read_json(self, key: str) -> Any:
        """Reads a JSON object.

        Raises:
            NotFound: If there is none.
            DataLoss: If it is not JSON.
        """
        try:
            return json.loads(self.read_bytes(key))
        except ValueError as error:
            raise DataLoss(
                f"{self.uri_of(key)} is not readable JSON",
                reason="FILE_DAMAGED",
                remedy="delete it and run the step that writes it again",
                metadata={"file": PurePosixPath(self._key(key)).name},
            ) from error

    @contextmanager
    def open_read(self, key: str) -> Iterator[IO[bytes]]:
        """Opens an object for reading, for data that should not be in memory at once.

        Raises:
            NotFound: If there is none.
        """
        with self._errors(key), self._fs.open(self.path_of(key), "rb") as stream:
            yield stream

    def write_bytes(self, key: str, data: bytes) -> None:
        """Writes an object so that readers see the old one or the new one, never a part."""
        path = self.path_of(key)
        if not self._local:
            with self._errors(key, only_bucket=True):
                self._fs.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(target)
        try:
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def write_json(self, key: str, value: Any) -> None:
        """Writes a JSON value in canonical form, so equal values are equal bytes."""
        self.write_bytes(key, canonical_json(value))

    # -- trees -----------------------------------------------------------------------------------

    def list(self, prefix: str = "") -> list[str]:
        """Keys of all objects below `prefix`, sorted; empty if there are none."""
        base = self.path_of(prefix)
        with self._errors(prefix, only_bucket=True):
            found = [str(path) for path in self._fs.find(base)]
        keys = (self._relative(path) for path in found if path.startswith(f"{base}/"))
        return sorted(key for key in keys if not is_partial(key))

    def delete_tree(self, prefix: str) -> None:
        """Deletes everything below `prefix`; does nothing if there is nothing.

        Raises:
            InvalidArgument: If `prefix` is the whole store.
        """
        if not self._key(prefix):
            raise InvalidArgument.of("prefix", "is empty", remedy="name what to delete")
        path = self.path_of(prefix)
        with self._errors(prefix):
            if self._fs.exists(path):
                self._fs.rm(path, recursive=True)

    def download(self, prefix: str, to: Path) -> Path:
        """Copies everything below `prefix` into the directory `to`, appearing there at once.

        Returns:
            `to`. An existing `to` is taken as a finished download and left alone.

        Raises:
            NotFound: If there is nothing below `prefix`.
        """
        if to.exists():
            return to
        base = self.path_of(prefix)
        keys = self.list(prefix)
        if not keys:
            raise self._missing(prefix)
        partial = partial_of(to)
        try:
            for key in keys:
                path = self.path_of(key)
                target = partial / path.removeprefix(f"{base}/")
                target.parent.mkdir(parents=True, exist_ok=True)
                with self._errors(key):
                    self._fs.get_file(path, str(target))
            publish_directory(partial, to)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return to

    def upload_tree(
        self, local: Path, prefix: str, *, move: bool = False, last: str = MANIFEST_NAME
    ) -> bool:
        """Publishes the directory `local` as `prefix`, atomically to readers.

        On `file://` the copy becomes visible by one rename. Elsewhere the file `last` goes last,
        and a tree counts as there once it has it. A published tree is never overwritten: its
        name is its content.

        Args:
            local: Finished directory.
            prefix: Where it goes.
            move: Give `local` up: where the file system allows it is renamed instead of copied.
            last: The file that makes the tree whole.

        Returns:
            Whether this call published it; False if it was there before.
        """
        if self._is_published(prefix, last):
            return False
        if self._local:
            target = Path(self.path_of(prefix))
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = partial_of(target)
            try:
                move_or_copy(local, partial, move=move)
                return publish_directory(partial, target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        names = sorted(
            (path.relative_to(local).as_posix() for path in local.rglob("*") if path.is_file()),
            key=lambda name: (name == last, name),
        )
        for name in names:
            key = self.join(prefix, name)
            with self._errors(key, only_bucket=True):
                self._fs.put_file(str(local / name), self.path_of(key))
        return True

    # -- helpers ---------------------------------------------------------------------------------

    def _is_published(self, prefix: str, last: str) -> bool:
        return self.exists(prefix if self._local else self.join(prefix, last))

    def _key(self, key: str) -> str:
        if key == self.uri or key.startswith(f"{self.uri}/"):
            key = key[len(self.uri) :].lstrip("/")
        path = PurePosixPath(key)
        if path.is_absolute() or "://" in key or ".." in path.parts or "\0" in key:
            raise InvalidArgument.of(
                "key", "is not a path inside the store", remedy="use a relative path without '..'"
            )
        return "" if key in ("", ".") else path.as_posix()

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._root}/")

    def _missing(self, key: str) -> NotFound:
        return NotFound(
            f"{self.uri_of(key)} does not exist",
            reason="OBJECT_NOT_FOUND",
            resource=f"object/{self._key(key)}",
        )

    @contextmanager
    def _errors(self, key: str, *, only_bucket: bool = False) -> Iterator[None]:
        # What is written or listed needs no object: only the bucket can be what is not there.
        if self._local:
            with local_errors(self.uri_of(key), self._field, self._missing(key)):
                yield
            return
        missing = None if only_bucket else self._missing(key)
        with remote_errors(self._scheme, self.uri_of(key), self._field, missing):
            yield
