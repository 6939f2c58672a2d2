"""The coordinator's own tables, on SQLite and on a real Postgres server."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import EvaluationStatus, Job, VariantStatus
from assay_coordinator.store import StudyStore
from assay_coordinator.store.engine import create_engine, migrate
from assay_coordinator.store.tables import EXECUTORS, METADATA, TURNS, VERSION_TABLE
from assay_core.errors import FailedPrecondition

FIRST_TABLES = [table for table in METADATA.sorted_tables if table not in (TURNS, EXECUTORS)]
VERSIONS = sa.table(VERSION_TABLE, sa.column("version_num"))


def test_migrations_make_exactly_the_tables_that_the_code_reads(url):
    engine = create_engine(url)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_database_from_before_alembic_is_adopted_with_its_rows(url):
    engine = create_engine(url)
    METADATA.create_all(engine, tables=FIRST_TABLES)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE coordinator_schema (version INTEGER)"))
        connection.execute(sa.text("INSERT INTO study_revisions VALUES ('study-1', 7)"))
    migrate(engine)
    migrate(engine)  # again: nothing
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT revision FROM study_revisions")).scalar() == 7
    assert not sa.inspect(engine).has_table("coordinator_schema")
    engine.dispose()


def test_a_newer_database_is_refused_and_left_alone(url):
    engine = create_engine(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(VERSIONS).values(version_num="9999"))
    with pytest.raises(FailedPrecondition) as refused:
        migrate(engine)
    assert refused.value.reason == "SCHEMA_TOO_NEW"
    engine.dispose()


def test_replicas_that_start_at_once_migrate_once(postgres_url, request):
    base = postgres_url.rsplit("/", 1)[0]
    admin = create_engine(postgres_url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE at_once"))
    engines = [create_engine(f"{base}/at_once") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, engines))
    with engines[0].connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(VERSIONS)).scalar() == 1
    for engine in (*engines, admin):
        engine.dispose()


def variant(position=0, **changes):
    values = {
        "key": f"m/r{position}/seed0", "position": position, "model_name": "m", "model_uri": "m",
        "method": "gptq", "label": "gptq-4bit", "calibration_seed": 0,
        "reference_key": "m/r0/seed0",
    }  # fmt: skip
    return VariantStatus(**{**values, **changes})


async def test_what_is_put_is_read_back_and_every_write_moves_the_revision(url):
    store = StudyStore(url)
    try:
        evaluation = EvaluationStatus(variant_key="m/r1/seed0", dimension="ethics")
        found = Comparison(
            variant_key="m/r1/seed0", reference_key="m/r0/seed0", dimension="ethics",
            metric="ethics", parser_version="assay-2026", difference=-1.5,
        )  # fmt: skip
        seen = [await store.revision("s")]
        for write in (
            store.put_variant("s", variant(1)),
            store.put_variant("s", variant(0)),
            store.put_variant("s", variant(1, state="RUNNING")),
            store.put_evaluation("s", evaluation),
            store.put_comparisons("s", [found]),
            store.put_job("s", Job(kind="lease", id="l", owner="m/r1/seed0")),
            store.add_event("s", "began"),
        ):
            await write
            seen.append(await store.revision("s"))
        assert seen == sorted(set(seen))
        assert [v.position for v in await store.variants("s")] == [0, 1]
        assert (await store.variant("s", "m/r1/seed0")).state == "RUNNING"
        assert await store.evaluations("s") == [evaluation]
        assert await store.comparisons("s") == [found]
        assert [event.text for event in await store.events("s")] == ["began"]
        await store.delete("s")
        assert await store.variants("s") == [] and await store.jobs("s") == []
    finally:
        await store.close()


async def test_writers_at_once_lose_nothing(url):
    store = StudyStore(url)
    try:
        await asyncio.gather(*(store.add_event("s", str(i)) for i in range(40)))
        assert len(await store.events("s")) == 40
        assert await store.revision("s") == 40
    finally:
        await store.close()
