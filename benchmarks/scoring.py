"""Measures the scoring service: texts per second of a BERT-base (`make bench-scoring`).

    python benchmarks/scoring.py [--texts N] [--words N] [--device auto|cpu|cuda]

Weights are random: the time of a forward pass does not depend on them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import tempfile
import time
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from assay_scoring.checkpoint import Checkpoint, choose_device
from assay_scoring.settings import CheckpointSettings

VOCABULARY = 30_522


def write_model(folder: Path) -> None:
    """A BERT-base with two classes (110 million parameters)."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{k}" for k in range(VOCABULARY - 4))]
    labels = {0: "neutral", 1: "toxic"}
    config = BertConfig(id2label=labels, label2id={name: k for k, name in labels.items()})
    BertForSequenceClassification(config).save_pretrained(folder)
    vocabulary = {word: position for position, word in enumerate(words)}
    BertTokenizerFast(vocab=vocabulary, model_max_length=512).save_pretrained(folder)


def main() -> None:
    """Times `Checkpoint.score`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--words", type=int, default=150)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = choose_device(options.device)
    draw = random.Random(0)  # noqa: S311 (texts of a benchmark)
    texts = [
        " ".join(
            f"w{draw.randrange(VOCABULARY - 4)}" for _ in range(draw.randint(1, options.words))
        )
        for _ in range(options.texts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        checkpoint = Checkpoint("bench", CheckpointSettings(path=folder), device, 16_384)
        checkpoint.score(texts[:8])
        began, spent = time.perf_counter(), time.process_time()
        checkpoint.score(texts)
        seconds, processor = time.perf_counter() - began, time.process_time() - spent
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    print(f"{where}, {os.cpu_count()} cores, torch {torch.__version__}")
    # Processor time is what counts on a machine that does other work as well.
    print("| classifier | texts | words | texts/s | texts/s of processor time |")
    print("|---|---|---|---|---|")
    rates = f"{len(texts) / seconds:.1f} | {len(texts) / processor:.1f}"
    print(f"| BERT-base | {len(texts)} | 1-{options.words} | {rates} |")


if __name__ == "__main__":
    main()
