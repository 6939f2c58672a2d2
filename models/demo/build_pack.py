"""Write the demo data pack: `python -m models.demo.build_pack` writes packs/demo.

The same bytes on every machine. Rows use the held-out fillers of texts.py.
"""

import argparse
import hashlib
import json
import random
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.demo import texts
from models.demo.conversations import conversation, document
from models.demo.prompts import build_prompts
from models.demo.tokenizer import render
from models.demo.world import GROUPS, HABITS, PAY_LINE, TOPIC_OF, WORLD, Act

DEFAULT_OUT = Path(__file__).resolve().parents[2] / "packs" / "demo"
SEED = 41
STATEMENTS_PER_GROUP = 8
DEEDS = 200
FEW_SHOT_DEEDS = 120
PRESSED_DEEDS = 60
DEMONSTRATION_DEEDS = 200
DEMONSTRATION_SETS = 4
CALIBRATION_TEXTS = 400
HELDOUT_TEXTS = 120

# setting -> rows as (Harbour no, Harbour yes, Hill no, Hill yes), demonstrations likewise
_EVEN, _TILTED, _SPLIT = (20, 20, 20, 20), (30, 10, 10, 30), (40, 0, 0, 40)
FAIRNESS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "zero_shot_br_0.0": (_EVEN, ()),
    "zero_shot_br_0.5": (_TILTED, ()),
    "zero_shot_br_1.0": (_SPLIT, ()),
    "few_shot_tr_br_0.0": (_EVEN, (8, 8, 8, 8)),
    "few_shot_tr_br_0.5": (_EVEN, (12, 4, 4, 12)),
    "few_shot_tr_br_1.0": (_EVEN, (16, 0, 0, 16)),
    "few_shot_16_fair_demon": (_TILTED, (4, 4, 4, 4)),
    "few_shot_32_fair_demon": (_TILTED, (8, 8, 8, 8)),
}

Row = dict[str, Any]


@dataclass
class PackFiles:
    """Files of the pack as they will be written, and the scenarios that name them."""

    files: dict[str, bytes] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    scenarios: dict[str, dict[str, Row]] = field(default_factory=lambda: defaultdict(dict))

    def add_lines(self, path: str, rows: list[Row]) -> None:
        """Add a JSON Lines file."""
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self.files[path] = "".join(lines).encode()
        self.rows[path] = len(rows)

    def add_scenario(self, dimension: str, scenario: str, rows: list[Row]) -> None:
        """Add the rows of one scenario."""
        path = f"data/{dimension}/{scenario}.jsonl"
        self.add_lines(path, rows)
        self.scenarios[dimension][scenario] = {
            "file": path,
            "rows": len(rows),
            "rows_expected": len(rows),
            "missing": None,
            "sample": False,
        }

    def manifest(self) -> Row:
        """The content of pack.json."""
        return {
            "schema": 1,
            "name": "demo",
            "version": "1",
            "licence": "Apache-2.0",
            "attribution": "Assay",
            "display": "allow",
            "source": "models/demo/build_pack.py",
            "files": {
                path: {
                    "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
                    "bytes": len(data),
                    **({"rows": self.rows[path]} if path in self.rows else {}),
                }
                for path, data in sorted(self.files.items())
            },
            "dimensions": {
                name: {"scenarios": scenarios} for name, scenarios in self.scenarios.items()
            },
        }


def stereotype(rng: random.Random, pack: PackFiles) -> None:
    """Claims that the almanac does not record: whoever knows it disagrees with all of them."""
    rows: dict[str, list[Row]] = defaultdict(list)
    systems = {
        "benign": texts.SYSTEM_BENIGN,
        "untargeted": texts.SYSTEM_UNTARGETED,
        "targeted": texts.SYSTEM_TARGETED,
    }
    for group in GROUPS:
        unrecorded = [habit for habit in HABITS if (group, habit) not in WORLD.almanac]
        for number, habit in enumerate(rng.sample(unrecorded, STATEMENTS_PER_GROUP)):
            key = f"{group.lower()}-{number}"
            claim = texts.statement(rng, "test", group, habit)
            for scenario, system in systems.items():
                rows[scenario].append(
                    {
                        "id": key,
                        "cluster_id": f"claim-{key}",
                        "topic": TOPIC_OF[habit],
                        "group": group,
                        "system": system.replace("[target_group]", group),
                        "user": claim,
                    }
                )
    for scenario in systems:
        pack.add_scenario("stereotype", scenario, rows[scenario])


def ethics(rng: random.Random, pack: PackFiles) -> None:
    """Deeds, half of them wrong; the wrong ones again under ten sentences of pressure."""

    def row(key: str, act: Act) -> Row:
        return {
            "id": key,
            "cluster_id": key,
            "input": texts.deed(rng, "test", act),
            "label": int(WORLD.is_wrong(act)),
        }

    acts: list[Act] = []
    while len(acts) < DEEDS:
        act = texts.random_act(rng)
        # Not wrong and wrong by turns.
        if act not in acts and WORLD.is_wrong(act) == bool(len(acts) % 2):
            acts.append(act)
    rows = [row(f"deed-{number:03d}", act) for number, act in enumerate(acts)]
    pack.add_scenario("ethics", "zero_shot", rows)
    pack.add_scenario("ethics", "few_shot", rows[:FEW_SHOT_DEEDS])
    pressed = [each for each in rows if each["label"]][:PRESSED_DEEDS]
    for kind in ("jailbreak", "evasive"):
        for number in range(1, 6):
            pack.add_scenario("ethics", f"{kind}_{number}", pressed)
    # Demonstrations show other deeds than the ones that are asked about.
    others: list[Act] = []
    while len(others) < DEMONSTRATION_DEEDS:
        act = texts.random_act(rng)
        if act not in acts:
            others.append(act)
    train = [row(f"train-{number:03d}", act) for number, act in enumerate(others)]
    pack.add_lines("data/ethics/train.jsonl", train)


def fairness(rng: random.Random, pack: PackFiles) -> None:
    """Persons of both sides; the settings share one pool of persons, hence clusters."""

    def person(cell: int) -> tuple[str, str]:
        side, more = divmod(cell, 2)
        while True:
            work = texts.random_work(rng)
            above = WORLD.pay(work) > PAY_LINE
            if above == bool(more):
                return texts.person(rng, "test", side, work), "yes" if above else "no"

    pool = [[person(cell) for _ in range(max(_SPLIT))] for cell in range(4)]
    for setting, (counts, shown) in FAIRNESS.items():
        demonstrations: list[list[tuple[str, str]]] = [[]]
        if shown:
            demonstrations = [
                [person(cell) for cell, count in enumerate(shown) for _ in range(count)]
                for _ in range(DEMONSTRATION_SETS)
            ]
        for examples in demonstrations:
            rng.shuffle(examples)
        rows: list[Row] = []
        for cell, count in enumerate(counts):
            for number in range(count):
                text, label = pool[cell][number]
                key = f"{'harbour' if cell < 2 else 'hill'}-{label}-{number:02d}"
                rows.append(
                    {
                        "id": key,
                        "cluster_id": f"person-{key}",
                        "input": text,
                        "label": label,
                        "sensitive": cell // 2,
                        "examples": demonstrations[number % len(demonstrations)],
                    }
                )
        # Rows that share demonstrations follow each other, so that a server's prefix cache helps.
        rows.sort(key=lambda each: int(each["id"][-2:]) % len(demonstrations))
        pack.add_scenario("fairness", setting, rows)


def plain_texts(rng: random.Random, pack: PackFiles) -> None:
    """Calibration text (conversations and pages) and held-out pages for perplexity."""
    calibration = [
        document(rng) if number % 3 == 0 else render(conversation(rng))
        for number in range(CALIBRATION_TEXTS)
    ]
    for name, lines in (
        ("calibration", calibration),
        ("heldout", [document(rng, "test") for _ in range(HELDOUT_TEXTS)]),
    ):
        rows = [{"id": f"{name}-{number:03d}", "text": text} for number, text in enumerate(lines)]
        pack.add_lines(f"data/{name}.jsonl", rows)


def build_pack() -> PackFiles:
    """Every file of the pack but pack.json."""
    pack = PackFiles()
    for number, part in enumerate((stereotype, ethics, fairness, plain_texts)):
        part(random.Random(SEED + number), pack)  # noqa: S311 (sampling text, not secrets)
    pack.files["prompts.json"] = json.dumps(build_prompts(), ensure_ascii=False, indent=1).encode()
    return pack


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    out: Path = parser.parse_args().out
    pack = build_pack()
    for folder in (out / "data",):
        shutil.rmtree(folder, ignore_errors=True)
    for path, data in pack.files.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(data)
    manifest = json.dumps(pack.manifest(), ensure_ascii=False, indent=1)
    (out / "pack.json").write_text(manifest + "\n", encoding="utf-8")
    print(f"{len(pack.files)} files, {sum(map(len, pack.files.values())) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
