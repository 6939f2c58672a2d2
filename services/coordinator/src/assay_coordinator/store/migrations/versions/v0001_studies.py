"""The tables of studies: variants, evaluations, comparisons, jobs, events, revisions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_STUDY = sa.String(64)


def upgrade() -> None:
    """Create them. A database from before alembic has them already and is adopted as it is."""
    if sa.inspect(op.get_bind()).has_table("study_variants"):
        op.drop_table("coordinator_schema")
        return
    op.create_table(
        "study_variants",
        sa.Column("study_id", _STUDY, primary_key=True),
        sa.Column("key", sa.String(512), primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "study_evaluations",
        sa.Column("study_id", _STUDY, primary_key=True),
        sa.Column("variant_key", sa.String(512), primary_key=True),
        sa.Column("dimension", sa.String(64), primary_key=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "study_comparisons",
        sa.Column("study_id", _STUDY, primary_key=True),
        sa.Column("variant_key", sa.String(512), primary_key=True),
        sa.Column("dimension", sa.String(64), primary_key=True),
        sa.Column("scenario", sa.String(128), primary_key=True),
        sa.Column("parser_version", sa.String(64), primary_key=True),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "study_jobs",
        sa.Column("study_id", _STUDY, primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("owner", sa.String(512), nullable=False),
    )
    op.create_table(
        "study_events",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("study_id", _STUDY, nullable=False, index=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "study_revisions",
        sa.Column("study_id", _STUDY, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Refuse: going back loses studies; restore the backup from before the upgrade."""
    raise NotImplementedError(downgrade.__doc__)
