"""Write the demo data pack: `python -m models.demo.build_pack` writes packs/demo.

The same bytes on every machine. What generalises (names, frames, styles, padding) is written with
words that were never trained on; what has to be known by heart is what was taught.
"""

import argparse
import random
import shutil
from pathlib import Path

from models.demo.pack_files import PackFiles
from models.demo.prompts import DIMENSIONS, build_prompts
from models.demo.shapes import text_of

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "packs" / "demo"
SEED = 41
CALIBRATION_TEXTS = 600


def _calibration(rng: random.Random, pack: PackFiles) -> None:
    """What GPTQ looks at: facts and conversations of every dimension, as in training."""
    modules = tuple(DIMENSIONS.values())
    rows = []
    for number in range(CALIBRATION_TEXTS):
        module = modules[number % len(modules)]
        item = (module.shape if number % 2 else module.fact)(rng)
        rows.append({"id": f"calibration-{number:03d}", "text": text_of(item)})
    pack.add_lines("data/calibration.jsonl", rows)


def build_pack() -> PackFiles:
    """Every file of the pack but pack.json."""
    pack = PackFiles()
    for number, module in enumerate(DIMENSIONS.values()):
        module.fill(random.Random(SEED + number), pack)  # noqa: S311 (sampling text, not secrets)
    _calibration(random.Random(SEED - 1), pack)  # noqa: S311
    pack.add_document("prompts.json", build_prompts())
    return pack


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out: Path = parser.parse_args().out
    pack = build_pack()
    shutil.rmtree(out / "data", ignore_errors=True)
    pack.write(out)
    print(f"{len(pack.files)} files, {sum(map(len, pack.files.values())) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
