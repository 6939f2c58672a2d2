"""Tables of the coordinator, beside the `studies` resources that the core library keeps.

Created and changed by `migrations/`; a test checks that both say the same. Bodies are JSON
documents of the domain types, because they are read and written whole; what is searched for is a
column.
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

_STUDY = ("study_id", sa.String(64))

VARIANTS = sa.Table(
    "study_variants",
    METADATA,
    sa.Column(*_STUDY, primary_key=True),
    sa.Column("key", sa.String(512), primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)

EVALUATIONS = sa.Table(
    "study_evaluations",
    METADATA,
    sa.Column(*_STUDY, primary_key=True),
    sa.Column("variant_key", sa.String(512), primary_key=True),
    sa.Column("dimension", sa.String(64), primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),
)

COMPARISONS = sa.Table(
    "study_comparisons",
    METADATA,
    sa.Column(*_STUDY, primary_key=True),
    sa.Column("variant_key", sa.String(512), primary_key=True),
    sa.Column("dimension", sa.String(64), primary_key=True),
    sa.Column("scenario", sa.String(128), primary_key=True),
    sa.Column("parser_version", sa.String(64), primary_key=True),
    sa.Column("body", sa.JSON, nullable=False),
)

JOBS = sa.Table(
    "study_jobs",
    METADATA,
    sa.Column(*_STUDY, primary_key=True),
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("id", sa.String(128), primary_key=True),
    sa.Column("owner", sa.String(512), nullable=False),
)

EVENTS = sa.Table(
    "study_events",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column(*_STUDY, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)

# One row per study, counted up by every write: a watcher reads one integer to see a change.
REVISIONS = sa.Table(
    "study_revisions",
    METADATA,
    sa.Column(*_STUDY, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

# Who uses a scarce resource of the peers now, and who waits for it, in the order of asking.
TURNS = sa.Table(
    "study_turns",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("resource", sa.String(32), nullable=False),
    sa.Column(*_STUDY, nullable=False, index=True),
    sa.Column("owner", sa.String(512), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("granted", sa.Boolean, nullable=False),
    sa.UniqueConstraint("resource", "study_id", "owner", name="uq_study_turns"),
)

# Replicas that are alive. `epoch` counts those that had the id; none renews another's row.
EXECUTORS = sa.Table(
    "coordinator_executors",
    METADATA,
    sa.Column("executor_id", sa.String(256), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)

# Where alembic notes the version of these tables.
VERSION_TABLE = "coordinator_schema_version"

PER_STUDY = (VARIANTS, EVALUATIONS, COMPARISONS, JOBS, EVENTS, REVISIONS, TURNS)
