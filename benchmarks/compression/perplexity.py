"""Perplexity of a checkpoint over held-out documents, by transformers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.disable_progress_bar()


@dataclass(frozen=True)
class Losses:
    """Negative log-likelihoods of documents under a model.

    Attributes:
        sums: Nats of each document's predicted tokens.
        tokens: Predicted tokens of each document: all but its first.
    """

    sums: list[float]
    tokens: list[int]

    @property
    def perplexity(self) -> float:
        """The exponential of the mean nats per token."""
        return math.exp(sum(self.sums) / sum(self.tokens))

    def excess(self, dense: Losses) -> tuple[float, float]:
        """Mean nats per token more than `dense`, and its standard error over documents."""
        total = sum(self.tokens)
        changes = [mine - theirs for mine, theirs in zip(self.sums, dense.sums, strict=True)]
        mean = sum(changes) / total
        residuals = [c - mean * n for c, n in zip(changes, self.tokens, strict=True)]
        count = len(residuals)
        variance = sum(r * r for r in residuals) * count / (count - 1)
        return mean, math.sqrt(variance) / total


def read_documents(heldout: Path, tokenizer: Path) -> list[torch.Tensor]:
    """Token ids of every document of a JSONL file with a `text` per line."""
    encode = Tokenizer.from_file(str(tokenizer)).encode
    rows = heldout.read_text(encoding="utf-8").splitlines()
    return [torch.tensor(encode(json.loads(row)["text"]).ids) for row in rows if row]


def losses(checkpoint: Path, documents: list[torch.Tensor]) -> Losses:
    """Runs every document through a checkpoint, in float32."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    sums = []
    with torch.inference_mode():
        for ids in documents:
            logits = model(ids.unsqueeze(0)).logits[0, :-1]
            nats = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum")
            sums.append(float(nats))
    return Losses(sums, [len(ids) - 1 for ids in documents])
