"""Steps of a study by themselves: what goes wrong on the way costs nothing that is done."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from test_comparing import ONE_SCENARIO, binary

from assay_coordinator.domain.progress import EvaluationStatus, ScoreFacts, VariantStatus
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.store import StudyStore
from assay_coordinator.workflows.comparing import compare_variant
from assay_coordinator.workflows.context import Context, Run
from assay_core import verdicts
from assay_core.aggregation import dump_expr
from assay_core.digest import sha256_bytes
from assay_core.errors import Unavailable
from assay_core.storage import ObjectStore
from assay_core.together import together

DENSE, SMALL = "demo/dense/seed0", "demo/gptq-8bit-g128/seed0"
SPEC = load_study(
    "name: s\nmodels: [demo]\nrecipes: [gptq: {bits: 8}]\ndimensions: [ethics]\npack: demo\n"
)


class Flaky(ObjectStore):
    """A store that is away for its first reads."""

    failures = 2

    def read_bytes(self, key: str) -> bytes:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the object store does not answer", reason="STORAGE_UNAVAILABLE")
        return super().read_bytes(key)


@pytest_asyncio.fixture
async def context(tmp_path):
    store = StudyStore(f"sqlite:///{tmp_path / 'db.sqlite'}")
    data = Flaky(str(tmp_path / "data"))
    settings = CoordinatorSettings(home=tmp_path, bootstrap_replicates=200)
    for position, (key, right) in enumerate({DENSE: 40, SMALL: 30}.items()):
        shard = verdicts.to_bytes(
            verdicts.to_table(binary("zero", [1] * right + [0] * (40 - right)))
        )
        data.write_bytes(f"{position}.parquet", shard)
        score = ScoreFacts(
            metric="ethics", parser_version="assay-2026", value=right / 0.4, complete=True,
            verdicts_uri=f"{position}.parquet", verdicts_digest=sha256_bytes(shard),
            formula=dump_expr(ONE_SCENARIO),
        )  # fmt: skip
        variant = VariantStatus(
            key=key, position=position, model_name="demo", model_uri="demo", method="gptq",
            label=key, calibration_seed=0, reference_key=DENSE,
        )  # fmt: skip
        evaluation = EvaluationStatus(
            variant_key=key, dimension="ethics", state="SUCCEEDED", scores=(score,)
        )
        await store.put_variant("study-1", variant)
        await store.put_evaluation("study-1", evaluation)
    yield Context(settings=settings, records=None, store=store, peers=None, data=data, turns=None)
    await store.close()


async def test_a_store_that_is_away_for_a_moment_costs_no_comparison(context):
    assert await compare_variant(context, Run("study-1", 1, "default", SPEC), SMALL) == 1
    (found,) = await context.store.comparisons("study-1")
    assert found.difference == pytest.approx(-25)
    assert await context.store.events("study-1") == []


async def test_comparisons_are_written_all_or_none_and_told_once(context):
    await compare_variant(context, Run("study-1", 1, "default", SPEC), SMALL)
    (found,) = await context.store.comparisons("study-1")
    before = await context.store.revision("study-1")
    several = [found.model_copy(update={"scenario": f"s{i}"}) for i in range(5)]
    await context.store.put_comparisons("study-1", several)
    assert await context.store.revision("study-1") == before + 1
    broken = [found.model_copy(update={"scenario": name}) for name in ("new", None)]
    with pytest.raises(Exception, match="NOT NULL"):
        await context.store.put_comparisons("study-1", broken)
    assert len(await context.store.comparisons("study-1")) == 6


async def test_where_one_of_several_raises_the_others_have_ended():
    ended = []

    async def works():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)  # tidies up
            ended.append("works")

    async def breaks():
        await asyncio.sleep(0.01)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await together(works(), breaks())
    assert ended == ["works"]


async def test_a_cancel_of_several_lets_each_tidy_up():
    ended = []

    async def works(name):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            ended.append(name)

    task = asyncio.create_task(together(works("a"), works("b")))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == ["a", "b"]
