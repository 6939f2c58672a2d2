"""What the compression benchmarks are told, and where their documents go."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).parents[2]


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark that compresses the demo model."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--model", type=Path, default=ROOT / "models/demo/model")
    made.add_argument("--pack", type=Path, default=ROOT / "packs/demo/data")
    add_common(made)
    return made


def add_common(to: argparse.ArgumentParser) -> None:
    """Adds what every benchmark takes."""
    to.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    to.add_argument("--write", type=Path, help="file to write; standard output without it")


def publish(document: str, target: Path | None) -> None:
    """Writes a document where it was asked for."""
    if target is None:
        print(document)
    else:
        target.write_text(document, encoding="utf-8")
