"""An evaluator killed at random points: each completion is stored once, scores are the same.

`make faults-evaluators` kills it 20 times; the ordinary test three times.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mini_pack import PROMPTS
from synthetic_serving import SyntheticServing, random_words, serving

from assay_evaluators.dimensions.stereotype.scenarios import SCENARIOS, StereotypeRow
from assay_evaluators.packs.schema import ScenarioEntry
from assay_evaluators.packs.writing import PackWriter

KILLS = int(os.environ.get("ASSAY_TEST_KILLS", "3"))
ALL_PARSERS = ("assay-2026", "ct-2024-02", "dt-2024-09")
DRAWS = 25
# A shard is flushed every 256 completions: enough rows that each life may store one or two.
ROWS = 8 * KILLS


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("packs") / "kills"
    writer = PackWriter(out)
    writer.add_prompts(PROMPTS)
    for scenario in SCENARIOS:
        path = f"data/stereotype/{scenario}.jsonl"
        writer.add_rows(path, [
            StereotypeRow(id=f"row-{k}", cluster_id=f"row-{k}", topic=f"topic {k % 2}",
                          group=f"group {k % 3}", system="Be useful.", user=f"Claim {k}.")
            for k in range(ROWS)
        ])  # fmt: skip
        entry = ScenarioEntry(file=path, rows=ROWS, rows_expected=ROWS)
        writer.add_scenario("stereotype", scenario, entry)
    writer.finish(
        name="kills", version="1", licence="CC0-1.0", attribution="", display="allow",
        source="tests",
    )  # fmt: skip
    return str(out)


def path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


async def test_killed_at_random_points_nothing_is_lost_and_nothing_is_stored_twice(
    evaluator, tmp_path, uri
):
    draw = random.Random(KILLS)  # noqa: S311 (repeatable moments to kill at)
    calm, stormy = SyntheticServing(random_words), SyntheticServing(random_words)
    async with serving(calm, tmp_path) as address, evaluator("stereotype", address, uri) as service:
        undisturbed = await service.run(parsers=ALL_PARSERS)
    stormy.delay = 0.005
    created = ""
    async with serving(stormy, tmp_path) as address:
        for _ in range(KILLS):
            async with evaluator("stereotype", address, uri, home="stormy") as service:
                # Nothing is created again: a new process takes the evaluation up by itself.
                created = created or (await service.create(parsers=ALL_PARSERS)).meta.id
                await stormy.reach(stormy.total + draw.randint(0, 500), seconds=20)
                await asyncio.sleep(draw.uniform(0, 0.02))
                await service.kill(signal.SIGKILL)
        async with evaluator("stereotype", address, uri, home="stormy") as service:
            survivor = await service.reach(created, "SUCCEEDED")
    for before, after in zip(undisturbed.scores, survivor.scores, strict=True):
        assert before.verdicts_digest == after.verdicts_digest
        assert path(before.score_uri).read_bytes() == path(after.score_uri).read_bytes()
    assert len(survivor.generations) == len(SCENARIOS)
    for record in survivor.generations:
        keys = [
            (row["sample_id"], row["completion_index"])
            for shard in path(record.uri).glob("shards/*.parquet")
            for row in pq.ParquetFile(shard).read().to_pylist()
        ]
        assert len(keys) == len(set(keys)) == record.completions == ROWS * DRAWS
