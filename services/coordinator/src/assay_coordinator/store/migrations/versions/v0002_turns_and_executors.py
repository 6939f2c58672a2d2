"""Turns at the peers' scarce resources, and the replicas that are alive."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "study_turns",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("resource", sa.String(32), nullable=False),
        sa.Column("study_id", sa.String(64), nullable=False, index=True),
        sa.Column("owner", sa.String(512), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("granted", sa.Boolean, nullable=False),
        sa.UniqueConstraint("resource", "study_id", "owner", name="uq_study_turns"),
    )
    op.create_table(
        "coordinator_executors",
        sa.Column("executor_id", sa.String(256), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Refuse: going back loses who is at work; restore the backup from before the upgrade."""
    raise NotImplementedError(downgrade.__doc__)
