"""Alembic environment of the coordinator's own tables; see `store.engine.migrate`."""
