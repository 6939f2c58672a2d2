"""Who and what a call is: request id and W3C trace context, carried by context variables."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace

REQUEST_ID_KEY = "x-request-id"
TRACEPARENT_KEY = "traceparent"

# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


@dataclass(frozen=True)
class CallContext:
    """Identity of one call.

    Attributes:
        request_id: Id that logs and INTERNAL errors show; the caller's `x-request-id` if given.
        trace_id: 32 hex characters, shared by every call that one user action causes.
        span_id: 16 hex characters of this call.
        trace_flags: Two hex characters; `01` means sampled.
        parent_span_id: Span of the caller; empty at the root of a trace.
    """

    request_id: str
    trace_id: str
    span_id: str
    trace_flags: str = "01"
    parent_span_id: str = ""

    @property
    def traceparent(self) -> str:
        """The header that hands this context on."""
        return f"00-{self.trace_id}-{self.span_id}-{self.trace_flags}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a call made on behalf of this one, which becomes the parent."""
        return ((REQUEST_ID_KEY, self.request_id), (TRACEPARENT_KEY, self.traceparent))


_current: ContextVar[CallContext | None] = ContextVar("assay_call_context", default=None)


def new_context() -> CallContext:
    """A context with fresh ids: the root of a trace."""
    return CallContext(
        request_id=str(uuid.uuid4()), trace_id=secrets.token_hex(16), span_id=secrets.token_hex(8)
    )


def context_from(metadata: Mapping[str, str]) -> CallContext:
    """Continues the caller's trace; ids that are malformed are replaced, never logged."""
    context = new_context()
    request_id = metadata.get(REQUEST_ID_KEY, "")
    if _REQUEST_ID.fullmatch(request_id):
        context = replace(context, request_id=request_id)
    trace = _TRACEPARENT.fullmatch(metadata.get(TRACEPARENT_KEY, ""))
    if trace is not None and trace[1] != "0" * 32:
        context = replace(context, trace_id=trace[1], parent_span_id=trace[2], trace_flags=trace[3])
    return context


def current_context() -> CallContext | None:
    """The context of the call being served, or None outside one."""
    return _current.get()


def set_context(context: CallContext | None) -> None:
    """Makes `context` current in this task and the tasks it starts."""
    _current.set(context)


def text_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    """Call metadata as a mapping, without binary entries; the first value of a key wins."""
    found: dict[str, str] = {}
    for key, value in metadata or ():
        if isinstance(value, str):
            found.setdefault(key, value)
    return found
