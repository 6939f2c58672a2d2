"""Calibration text to token sequences, by the checkpoint's own tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from assay_compression.calibration import draw_offsets, read_documents
from assay_compression.checkpoint.folder import TOKENIZER
from assay_compression.jobs.spec import CalibrationSpec
from assay_core.digest import sha256_file
from assay_core.errors import FailedPrecondition


def draw_sequences(checkpoint: Path, text: Path, spec: CalibrationSpec) -> Tensor:
    """Token ids `[samples, sequence_length]`, a function of text, tokenizer and seed alone.

    Documents are tokenized with their special tokens and joined in the file's order.

    Raises:
        FailedPrecondition: If the text has changed since the job was accepted, or is too short.
    """
    if not text.is_file() or sha256_file(text) != spec.digest:
        raise FailedPrecondition(
            f"calibration file {text.name} changed after the job was accepted",
            field="calibration.source",
            reason="CALIBRATION_CHANGED",
            remedy="create the variant again",
            metadata={"file": text.name},
        )
    tokenizer = Tokenizer.from_file(str(checkpoint / TOKENIZER))
    encodings = tokenizer.encode_batch(read_documents(text))
    stream = torch.tensor([token for encoding in encodings for token in encoding.ids])
    length = spec.sequence_length
    offsets = draw_offsets(len(stream), samples=spec.samples, length=length, seed=spec.seed)
    return torch.stack([stream[start : start + length] for start in offsets])
