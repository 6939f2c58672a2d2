"""Greedy texts of the service are those of `vllm.LLM` offline, through 20 swaps in place."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from assay_core.pb import serving_pb2 as pb
from assay_serving.description import describe
from assay_serving.domain import EngineOptions
from assay_serving.settings import ServingSettings

pytestmark = [pytest.mark.engine, pytest.mark.slow]

OFFLINE = Path(__file__).resolve().parents[3] / "benchmarks" / "offline_engine.py"
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "is",
    "water",
    "wet",
    "yes",
    "every",
    "careful",
    "answer",
]
PROMPTS = [" ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 3 + i % 17)) for i in range(200)]
SWAPS = 20


def offline(path: Path, home: Path) -> list[str]:
    """What one offline engine generates for every prompt."""
    workload = {"prompts": PROMPTS, "seeds": [0] * 200, "n": 1, "temperature": 0, "max_tokens": 24}
    file = home / "workloads.json"
    file.write_text(json.dumps({"all": workload}))
    spec = describe(ServingSettings(home=home), str(path), EngineOptions()).spec
    process = subprocess.run(
        [sys.executable, str(OFFLINE), str(path), json.dumps(asdict(spec)), str(file)],
        input=json.dumps({"workload": "all"}) + "\n",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return [texts[0] for texts in answer["texts"]]


async def test_200_prompts_equal_offline_before_and_after_20_swaps(client, variants, tmp_path):
    expected = {name: offline(path, tmp_path) for name, path in variants.items()}
    assert expected["a"] != expected["b"]
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=24)
    items = [pb.GenerateItem(id=str(i), text=t, sampling=sampling) for i, t in enumerate(PROMPTS)]
    for turn in range(SWAPS + 1):
        name = "ab"[turn % 2]
        async with client.leased(variants[name]) as lease:
            found = await client.generate(lease, items)
            assert [found[str(i), 0].text for i in range(200)] == expected[name]
            assert lease.model.swapped is (turn > 0)
