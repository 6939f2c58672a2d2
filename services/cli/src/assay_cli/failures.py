"""Errors as people read them: what is wrong, where, what to do, which command comes next."""

from __future__ import annotations

import os
from enum import IntEnum

import grpc

from assay_cli.output import Output
from assay_core.errors import AssayError, to_document


class ExitCode(IntEnum):
    """Exit codes of every command.

    3 and 1 come only from a gate's verdict, so that a pipeline can tell them from trouble.
    """

    OK = 0
    FAILED_VERDICT = 1
    ERROR = 2
    INCONCLUSIVE = 3
    INTERRUPTED = 130


def debugging() -> bool:
    """Whether tracebacks are wanted (`ASSAY_DEBUG=1`)."""
    return os.environ.get("ASSAY_DEBUG", "") not in ("", "0")


def render_error(error: AssayError, output: Output) -> None:
    """Prints an error to stderr, and with `--json` as a document to stdout."""
    if output.json_mode:
        output.result({"error": to_document(error) | {"next": next_command(error)}})
    output.styled(f"error: {error.message}", "bold red")
    known = {violation.field for violation in error.violations}
    if error.field and not _named(error.field, error.message):
        output.note(f"  field:  {error.field}")
    for violation in error.violations:
        if violation.field in known - {error.field} and violation.description not in error.message:
            output.note(f"  field:  {violation.field} {violation.description}")
    if error.remedy:
        output.note(f"  remedy: {error.remedy}")
    if command := next_command(error):
        output.note(f"  next:   {command}")


def next_command(error: AssayError) -> str:
    """The command that helps most after this error; empty if the remedy says it all."""
    text = f"{error.remedy or ''} {error.message}"
    if "`assay " in text or "`make " in text:
        return ""
    return _NEXT_BY_REASON.get(error.reason, "") or _NEXT_BY_CODE.get(error.code, "")


def unexpected(error: Exception, output: Output) -> None:
    """Prints a defect of ours without its traceback."""
    if output.json_mode:
        document = {"code": "INTERNAL", "reason": "CLI_DEFECT", "message": _summary(error)}
        output.result({"error": document})
    output.styled(f"error: {_summary(error)}", "bold red")
    output.note("  remedy: this is a defect of assay; ASSAY_DEBUG=1 shows where")
    output.note("  next:   assay doctor")


def _summary(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _named(field: str, message: str) -> bool:
    return field in message


_NEXT_BY_REASON = {
    "STUDY_NOT_FOUND": "assay study list",
    "VARIANT_NOT_FOUND": "assay variants list",
    "UNKNOWN_RECIPE": "assay recipes",
    "UNKNOWN_RECIPE_FIELD": "assay recipes",
}
_NEXT_BY_CODE = {
    grpc.StatusCode.UNAVAILABLE: "assay status",
    grpc.StatusCode.DEADLINE_EXCEEDED: "assay status",
    grpc.StatusCode.INTERNAL: "assay doctor",
    grpc.StatusCode.UNKNOWN: "assay doctor",
    grpc.StatusCode.UNAUTHENTICATED: "set ASSAY_TOKEN or give --token, then run the command again",
}
