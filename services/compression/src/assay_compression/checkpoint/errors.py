"""Errors about a checkpoint: what is wrong with its files, under the request field that named it.

Checks of files do not know which field of which request named the checkpoint. They say MODEL_FIELD,
and whoever read the request says which field it was, with `named_by`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay_core.errors import AssayError, DataLoss, FailedPrecondition, FieldViolation

MODEL_FIELD = "model.uri"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def refused(message: str, remedy: str, reason: str) -> AssayError:
    """A checkpoint that cannot be used, and what to do about it."""
    return FailedPrecondition(message, field=MODEL_FIELD, remedy=remedy, reason=reason)


def damaged(file: str, problem: str) -> AssayError:
    """A file that is not whole."""
    return DataLoss(
        f"file {file} {problem}",
        field=MODEL_FIELD,
        reason="CHECKPOINT_DAMAGED",
        remedy="download or save the checkpoint again",
        metadata={"file": file},
    )


@contextmanager
def named_by(field: str) -> Iterator[None]:
    """Lets errors about a checkpoint name the field that the caller set.

    Args:
        field: Path of the request field: `parent.uri`.

    Raises:
        AssayError: As raised inside, with `field` where it said MODEL_FIELD.
        FailedPrecondition: If the system does not let a file be read: names the file.
    """
    try:
        yield
    except AssayError as error:
        if field == MODEL_FIELD or error.field != MODEL_FIELD:
            raise
        raise _renamed(error, field) from error.__cause__
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise _unreadable(error, field) from error


def _renamed(error: AssayError, field: str) -> AssayError:
    return type(error)(
        error.message,
        reason=error.reason,
        remedy=error.remedy,
        metadata=error.metadata,
        retry_after=error.retry_after,
        resource=error.resource,
        violations=[
            FieldViolation(field if each.field == MODEL_FIELD else each.field, each.description)
            for each in error.violations
        ],
    )


def _unreadable(error: OSError, field: str) -> AssayError:
    # The name alone: where a server keeps its models is not for every caller to know.
    name = Path(os.fsdecode(error.filename)).name if error.filename else ""
    return FailedPrecondition(
        f"{f'file {name}' if name else 'a file'} of the checkpoint cannot be read "
        f"({os.strerror(error.errno or errno.EIO)})",
        field=field,
        reason="CHECKPOINT_UNREADABLE",
        remedy="let the service's user read the files, and check the disk",
        metadata={"file": name},
    )
