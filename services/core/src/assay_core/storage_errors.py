"""What goes wrong in an object store, as errors that name the field and the remedy.

fsspec's drivers translate what a store answers into `FileNotFoundError` and `PermissionError` where
they can. Credentials that are not there and networks that fail come as exceptions of the client
libraries underneath; only the driver in use is imported. No text of theirs is passed on: it may
hold keys or signed addresses.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any

from assay_core.errors import AssayError, FailedPrecondition, NotFound, Unavailable

_BUCKET_CODES = ("NoSuchBucket", "InvalidBucketName")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role; AWS_ENDPOINT_URL for "
    "a store that is not Amazon's",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or a workload identity",
}
_ELSEWHERE = "the credentials of its driver"
# What the client libraries below fsspec's drivers raise, by scheme.
_CLIENT_ERRORS = {
    "s3": (
        "botocore.exceptions:BotoCoreError",
        "botocore.exceptions:ClientError",
        "aiohttp:ClientError",
    ),
    "gs": (
        "gcsfs.retry:HttpError",
        "google.auth.exceptions:GoogleAuthError",
        "aiohttp:ClientError",
        "requests:RequestException",
    ),
}
_RETRY_SECONDS = 5.0
# Of the disk that is copied to, not of the store.
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextmanager
def local_errors(place: str, field: str, missing: NotFound) -> Iterator[None]:
    """Turns what reading a local store raises into the errors of Assay.

    Args:
        place: URI that messages name.
        field: Setting or request field that named the store.
        missing: What to raise where the object is not there.

    Raises:
        NotFound: `missing`.
        FailedPrecondition: This process may not read it.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise missing from error
    except PermissionError as error:
        raise FailedPrecondition.of(
            field,
            f"names {place}, which this service may not read",
            reason="STORE_ACCESS_DENIED",
            remedy="give the user that the service runs as the right to read it",
        ) from error
    except OSError as error:
        # A name that no file can have.
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise missing from error
        raise


@contextmanager
def remote_errors(scheme: str, place: str, field: str, missing: NotFound | None) -> Iterator[None]:
    """Turns what a remote store's driver raises into the errors of Assay.

    Args:
        scheme: Of the store: `s3`, `gs`.
        place: URI that messages name.
        field: Setting or request field that named the store.
        missing: What to raise where the object is not there; None where that would be the bucket.

    Raises:
        NotFound: There is no such object (`missing`) or no such bucket (BUCKET_NOT_FOUND).
        FailedPrecondition: The store refuses this process, or it has no credentials.
        Unavailable: The store does not answer.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        if missing is None or _names_bucket(error):
            raise _no_bucket(place, field) from error
        raise missing from error
    except PermissionError as error:
        raise _refused(scheme, place, field) from error
    except _driver_errors(scheme) as error:
        if getattr(error, "errno", None) in _LOCAL:
            raise
        raise _translated(error, scheme, place, field) from error


def _translated(error: Exception, scheme: str, place: str, field: str) -> AssayError:
    if _is_refusal(error):
        return _refused(scheme, place, field)
    return Unavailable(
        f"{place} cannot be reached ({type(error).__name__})",
        reason="STORE_UNAVAILABLE",
        field=field,
        remedy="try again; check the network and the store's endpoint if it goes on",
        retry_after=_RETRY_SECONDS,
    )


def _refused(scheme: str, place: str, field: str) -> FailedPrecondition:
    return FailedPrecondition.of(
        field,
        f"names {place}, which this service's credentials do not open",
        reason="STORE_ACCESS_DENIED",
        remedy=f"give the service {_CREDENTIALS.get(scheme, _ELSEWHERE)}, and the right to read, "
        "write, list and delete there",
    )


def _no_bucket(place: str, field: str) -> NotFound:
    return NotFound.of(
        field,
        f"names {place}, whose bucket does not exist",
        reason="BUCKET_NOT_FOUND",
        remedy="make the bucket, or correct its name; check the endpoint if the bucket is there",
    )


def _names_bucket(error: OSError) -> bool:
    response = getattr(error.__cause__, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code in _BUCKET_CODES


def _driver_errors(scheme: str) -> tuple[type[Exception], ...]:
    return (OSError, *map(resolve_name, _CLIENT_ERRORS.get(scheme, ())))


def _is_refusal(error: Any) -> bool:
    """Whether credentials are missing, broken or refused; the rest is the network or the store."""
    # By name: the classes belong to libraries of which only one may be there.
    names = {each.__name__ for each in type(error).__mro__}
    if names & {
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "NoAuthTokenError",
        "TokenRetrievalError",
        "ProfileNotFound",
        "GoogleAuthError",
    }:
        return True
    # gcsfs has no PermissionError: HttpError with a code, or an OSError that begins so.
    return str(getattr(error, "code", "")) in ("401", "403") or (
        type(error) is OSError and str(error).startswith("Forbidden")
    )
