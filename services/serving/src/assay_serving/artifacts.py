"""Artifacts as the serving service sees them: a directory of safetensors with one content digest.

An artifact of the compression service has a `manifest.json`, whose digest is its identity. A plain
checkpoint has none: its digest is that of the manifest it would have. Only safetensors are loaded;
pickle weights are refused by name.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from safetensors import SafetensorError, safe_open

from assay_core.digest import digest_of, hex_of, sha256_bytes, sha256_file
from assay_core.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from assay_core.manifest import MANIFEST_NAME, build_manifest, read_manifest, verify
from assay_core.storage import ObjectStore, lies_below
from assay_serving.engine.chat import PLAIN_TEMPLATE

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
TEMPLATE_FILE = "chat_template.jinja"

_DOWNLOADS: defaultdict[Path, Lock] = defaultdict(Lock)

# Keys of config.json that do not change what the engine builds.
_VOLATILE = frozenset({"_name_or_path", "transformers_version", "assay"})


@dataclass(frozen=True)
class Artifact:
    """A checkpoint directory on this machine, and what identifies it."""

    uri: str
    path: Path
    config: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Content digest. A plain checkpoint is read whole for it, once."""
        with readable():
            return content_digest(self.path)

    @property
    def location(self) -> str:
        """Where a replica finds the files."""
        return str(self.path)

    def verify(self) -> None:
        """Check that the files are still those of the digest; see `verify_files`."""
        with readable():
            verify_files(self.path, self.digest)

    @property
    def packed(self) -> bool:
        """Whether the weights are packed integers; those get an engine of their own."""
        return "quantization_config" in self.config

    @property
    def context_length(self) -> int | None:
        """Longest sequence that the model was made for, where its config says so."""
        for key in ("max_position_embeddings", "n_positions", "max_sequence_length"):
            length = self.config.get(key)
            if isinstance(length, int) and length > 0:
                return length
        return None

    @property
    def dtype(self) -> str:
        """Data type of the stored weights by config.json; `float32` where it says nothing."""
        return str(self.config.get("dtype") or self.config.get("torch_dtype") or "float32")

    @cached_property
    def tokenizer_digest(self) -> str:
        """Digest of the tokenizer files."""
        return digest_of(
            {
                name: sha256_file(self.path / name)
                for name in TOKENIZER_FILES
                if (self.path / name).is_file()
            }
        )

    @cached_property
    def chat_template_digest(self) -> str:
        """Digest of the chat template in use: the model's own, else the plain one."""
        template = self._own_template() or PLAIN_TEMPLATE
        return sha256_bytes(template.encode(errors="surrogateescape"))

    @property
    def swap_family(self) -> str:
        """Digest of what two artifacts must share to be swapped in place.

        Dense layouts of one architecture and tokenizer share an engine; packed ones share with
        nobody, because their kernels are built around the packing.
        """
        shape = {k: v for k, v in self.config.items() if k not in _VOLATILE}
        return digest_of(
            {
                "config": shape,
                "tokenizer": self.tokenizer_digest,
                "chat_template": self.chat_template_digest,
                "packed": self.digest if self.packed else None,
            }
        )

    def weight_bytes(self, dtype: str) -> int:
        """Bytes of the weights in an engine that holds them in `dtype`; packed ones as stored."""
        stored = sum(file.stat().st_size for file in self.path.glob("*.safetensors"))
        return stored if self.packed else stored * item_bytes(dtype) // item_bytes(self.dtype)

    def _own_template(self) -> str | None:
        file = self.path / TEMPLATE_FILE
        if file.is_file():
            return file.read_text(errors="surrogateescape")
        settings = self.path / "tokenizer_config.json"
        if settings.is_file():
            template = _read_json(settings).get("chat_template")
            return template if isinstance(template, str) else None
        return None


@contextmanager
def readable() -> Iterator[None]:
    """A piece of work that reads an artifact's files, with what the system says as our error.

    Raises:
        FailedPrecondition: One of them cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise FailedPrecondition.of(
            "artifact_uri",
            f"names files that this server cannot read ({error.strerror or type(error).__name__})",
            reason="ARTIFACT_UNREADABLE",
            remedy="let the user that the server runs as read them, and check the disk",
        ) from error


def item_bytes(dtype: str) -> int:
    """Bytes of one number: 4 of `float32`, 2 of the half-precision types."""
    return 4 if dtype == "float32" else 2


def open_artifact(
    uri: str, *, allowed: Collection[str], cache: Path, expected_digest: str = ""
) -> Artifact:
    """Find an artifact and check its form. Reads, never writes its files. Blocks.

    Raises:
        InvalidArgument: The URI is empty, malformed, or its scheme is unknown.
        PermissionDenied: The URI lies under no allowed prefix.
        NotFound: There is no such directory.
        FailedPrecondition: It has no safetensors weights, or another digest than expected.
        DataLoss: config.json, the manifest or a weight file cannot be read.
    """
    if not uri:
        raise InvalidArgument.of(
            "artifact_uri", "is empty", remedy="give the URI of an artifact or checkpoint directory"
        )
    path = _local_directory(uri, allowed, cache)
    config = _read_config(path)
    _check_weights(path)
    artifact = Artifact(uri=uri, path=path, config=config)
    if expected_digest and artifact.digest != expected_digest:
        raise FailedPrecondition.of(
            "artifact_digest",
            f"is {expected_digest}, but the directory holds {artifact.digest}",
            reason="DIGEST_MISMATCH",
            remedy="take the digest of the artifact from the compression service",
        )
    return artifact


def content_digest(path: Path) -> str:
    """Digest of an artifact by its manifest, or of a plain checkpoint by the one it would have."""
    if (path / MANIFEST_NAME).is_file():
        return read_manifest(path).digest
    return build_manifest(path, kind="checkpoint", identity={}).digest


def verify_files(path: Path, digest: str) -> None:
    """Check that the files of a directory are those that `digest` stands for.

    Raises:
        DataLoss: A file is missing or differs, or there are weights that the manifest does not
            list; names the file where there is a manifest.
    """
    if (path / MANIFEST_NAME).is_file():
        verify(path)
        listed = read_manifest(path).files
        for file in sorted(path.glob("*.safetensors")):
            if file.name not in listed:
                raise _damaged(file, "is not listed in the manifest")
    actual = content_digest(path)
    if actual != digest:
        raise DataLoss(
            f"the artifact directory {path.name} has changed since its digest was taken",
            reason="FILE_DAMAGED",
            remedy="load it again by its present digest, or create the artifact again",
            metadata={"expected": digest, "actual": actual},
        )


def _local_directory(uri: str, allowed: Collection[str], cache: Path) -> Path:
    try:
        parts = urlsplit(uri)
        local = parts.scheme in ("", "file")
        path = Path(unquote(parts.path) if parts.scheme else uri)
        path = path.expanduser().resolve() if local else path
    except (ValueError, RuntimeError) as error:
        raise InvalidArgument.of(
            "artifact_uri",
            "is neither a path nor a URI",
            remedy="write /PATH or s3://BUCKET/PREFIX",
        ) from error
    if local:
        _check_allowed(path.as_uri(), allowed)
        if not path.is_dir():
            raise NotFound.of(
                "artifact_uri",
                "names no directory of this machine",
                reason="ARTIFACT_NOT_FOUND",
                remedy="check the path, or whether this server shares the file system",
            )
        return path
    _check_allowed(uri, allowed)
    store = ObjectStore(uri, field="artifact_uri")
    target = cache / hex_of(sha256_bytes(uri.encode()))
    # A caller that could not wait for it asks again: for the same download, not for another one.
    with _DOWNLOADS[target]:
        return store.download("", target)


def _check_allowed(uri: str, allowed: Collection[str]) -> None:
    if lies_below(uri, allowed):
        return
    raise PermissionDenied.of(
        "artifact_uri",
        "lies under none of the prefixes this server may read",
        reason="URI_NOT_ALLOWED",
        remedy="ask the operator to add its prefix to ASSAY_SERVING_ARTIFACT_PREFIXES",
    )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise FailedPrecondition.of(
            "artifact_uri",
            f"names {path.name}, which has no config.json",
            reason="NOT_A_CHECKPOINT",
            remedy="name a directory in Hugging Face layout",
        )
    return _read_json(file)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        # Python's own constants stand in configs of some models; as texts they have a digest.
        document = json.loads(file.read_text(), parse_constant=str)
    except ValueError as error:
        raise _damaged(file, "is not readable JSON") from error
    if not isinstance(document, dict):
        raise _damaged(file, "is not a JSON object")
    return document


def _check_weights(path: Path) -> None:
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLE_SUFFIXES)
        found = f"only {', '.join(pickles)}; pickle is never loaded" if pickles else "no weights"
        raise FailedPrecondition.of(
            "artifact_uri",
            f"names {path.name}, which has {found}",
            reason="NO_SAFETENSORS",
            remedy="convert the checkpoint with save_pretrained(..., safe_serialization=True)",
        )
    for file in weights:
        _check_safetensors(file)
    index = path / "model.safetensors.index.json"
    if index.is_file():
        there = {file.name for file in weights}
        weight_map = _read_json(index).get("weight_map", {})
        if not isinstance(weight_map, dict):
            raise _damaged(index, "has no map of weights")
        for name in sorted({str(file) for file in weight_map.values()}):
            if name not in there:
                raise _damaged(path / name, "is missing")


def _check_safetensors(file: Path) -> None:
    try:
        with safe_open(str(file), framework="numpy"):
            pass
    except SafetensorError as error:
        raise _damaged(file, "is not a readable safetensors file") from error


def _damaged(file: Path, problem: str) -> DataLoss:
    return DataLoss(
        f"file {file.name} {problem}",
        reason="FILE_DAMAGED",
        remedy="restore the file, or create the artifact again",
        metadata={"file": file.name},
    )
