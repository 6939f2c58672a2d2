"""Checkpoints in Hugging Face layout: small BERTs with random weights."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "you", "are", "a", "fool", "friend", "good", "bad"]


def write_checkpoint(folder, *, labels, problem_type, seed=0):
    """A BERT of two layers over the words above."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32, initializer_range=0.5,
        id2label=dict(enumerate(labels)), label2id={label: k for k, label in enumerate(labels)},
        problem_type=problem_type,
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    model.save_pretrained(folder, safe_serialization=True)
    BertTokenizerFast(
        tokenizer_file=None, vocab={word: k for k, word in enumerate(WORDS)}, model_max_length=32
    ).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    # For tests of other environments, which have no torch.
    write_checkpoint(
        Path(sys.argv[1]),
        labels=["neutral", "toxic"],
        problem_type="single_label_classification",
    )
