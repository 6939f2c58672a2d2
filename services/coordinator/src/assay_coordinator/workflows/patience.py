"""Steps wait for a database that is away: a restart of Postgres is no reason to fail a study."""

from __future__ import annotations

from dbos import StepOptions
from sqlalchemy.exc import DBAPIError, OperationalError

from assay_core.errors import AssayError


def database_is_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be reached, and nothing else."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, OperationalError)
    return isinstance(error, AssayError) and error.reason == "DATABASE_UNAVAILABLE"


# A step is run again from its beginning, which is safe because it is idempotent. As long as a step
# waits for a peer that is away: half an hour.
PATIENT: StepOptions = {
    "retries_allowed": True,
    "interval_seconds": 1.0,
    "backoff_rate": 1.0,
    "max_attempts": 1800,
    "should_retry": database_is_away,
}
