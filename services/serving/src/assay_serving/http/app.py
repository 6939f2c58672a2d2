"""Routes of the OpenAI-compatible door, as an ASGI application.

Every request that generates takes a lease on the resident model for as long as it runs, so that a
swap waits for it, and it for its turn where somebody already waits for a swap.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ValidationError
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assay_core.auth import Authenticator, Principal, Scope
from assay_core.context import REQUEST_ID_KEY, CallContext, context_from
from assay_core.errors import AssayError, Cancelled, Internal, InvalidArgument, NotFound
from assay_core.field_errors import invalid_argument
from assay_core.limits import MAX_MESSAGE_BYTES
from assay_core.logs import exception_facts, get_logger
from assay_serving import metrics
from assay_serving.domain import Completion, Delta, Failure, Item
from assay_serving.failures import item_error
from assay_serving.generation import Batch, GenerateStream
from assay_serving.http.answers import ChatWriter, CompletionWriter, Writer
from assay_serving.http.convert import chat_items, completion_items
from assay_serving.http.errors import body_of, headers_of, status_of
from assay_serving.http.schema import ChatRequest, CompletionRequest, GenerationRequest
from assay_serving.models import ModelManager
from assay_serving.registry import ModelRecord

DIGEST_HEADER = "x-assay-artifact-digest"
DONE = "[DONE]"

_LOG = get_logger("assay.serving.http")

DocumentT = TypeVar("DocumentT", bound=BaseModel)
Endpoint = Callable[[Request, Principal], Awaitable[Response]]


@dataclass(frozen=True)
class _Work:
    """One request on one resident model."""

    request: GenerationRequest
    items: Sequence[Item]
    model: ModelRecord
    writer: Writer

    @property
    def digest(self) -> str:
        return self.model.model.artifact_digest


class OpenAIDoor:
    """The handlers over a `ModelManager`."""

    def __init__(self, models: ModelManager, authenticator: Authenticator) -> None:
        self._models = models
        self._authenticator = authenticator

    def application(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/v1/models", self._guarded(self.models, Scope.READ)),
                Route("/v1/models/{model:path}", self._guarded(self.model, Scope.READ)),
                Route(
                    "/v1/completions",
                    self._guarded(self.completions, Scope.RUN),
                    methods=["POST"],
                ),
                Route(
                    "/v1/chat/completions", self._guarded(self.chat, Scope.RUN), methods=["POST"]
                ),
            ],
            exception_handlers={HTTPException: _no_route},
        )

    async def models(self, _request: Request, principal: Principal) -> Response:
        """`GET /v1/models`: what answers now."""
        known = await self._models.resident(principal)
        return JSONResponse({"object": "list", "data": [_card(record) for record in known]})

    async def model(self, request: Request, principal: Principal) -> Response:
        """`GET /v1/models/NAME`."""
        return JSONResponse(_card(await self._named(request.path_params["model"], principal)))

    async def completions(self, request: Request, principal: Principal) -> Response:
        """`POST /v1/completions`."""
        document = await _document(request, CompletionRequest)
        items = completion_items(document)
        model = await self._named(document.model, principal)
        writer = CompletionWriter(document, items, model.model.artifact_digest)
        return await self._answer(request, _Work(document, items, model, writer))

    async def chat(self, request: Request, principal: Principal) -> Response:
        """`POST /v1/chat/completions`."""
        document = await _document(request, ChatRequest)
        items = chat_items(document)
        model = await self._named(document.model, principal)
        writer = ChatWriter(document, model.model.artifact_digest)
        return await self._answer(request, _Work(document, items, model, writer))

    async def _named(self, name: str, principal: Principal) -> ModelRecord:
        """The resident model of a name: its id, digest, URI, or unambiguous directory name.

        Raises:
            NotFound: None answers to it now.
        """
        resident = await self._models.resident(principal)
        for key in (_id, _digest, _uri, _directory):
            found = [record for record in resident if key(record) == name]
            if len({record.model.artifact_digest for record in found}) == 1:
                return found[0]
        raise NotFound(
            "model names no model that is resident now",
            reason="MODEL_NOT_FOUND",
            field="model",
            remedy="GET /v1/models lists those that are; LoadModel makes one resident",
        )

    async def _answer(self, request: Request, work: _Work) -> Response:
        headers = {DIGEST_HEADER: work.digest}
        if not work.request.stream:
            completions = await _unless_gone(request, self._whole(work))
            return JSONResponse(work.writer.whole(completions), headers=headers)
        events = self._events(work)
        # The first event is awaited here, so that what is refused at once has its own status.
        first = await _unless_gone(request, anext(events))
        return EventSourceResponse(_chained(first, events), headers=headers, ping=15, sep="\n")

    async def _whole(self, work: _Work) -> list[Completion]:
        completions = []
        async with aclosing(self._run(work)) as answers:
            async for answer in answers:
                if isinstance(answer, Completion):
                    completions.append(answer)
        return completions

    async def _events(self, work: _Work) -> AsyncGenerator[str, None]:
        """Events of a stream; an error before the first one is raised, a later one is an event."""
        completions = []
        begun = False
        try:
            async with aclosing(self._run(work)) as answers:
                async for answer in answers:
                    if isinstance(answer, Delta):
                        documents = work.writer.piece(answer)
                    else:
                        completions.append(answer)
                        documents = work.writer.end(answer)
                    for document in documents:
                        begun = True
                        yield json.dumps(document)
            if work.request.with_usage:
                yield json.dumps(work.writer.usage(completions))
        except AssayError as error:
            if not begun:
                raise
            yield json.dumps(body_of(error))
        yield DONE

    async def _run(self, work: _Work) -> AsyncGenerator[Delta | Completion, None]:
        """Every answer of a request, under a lease of its own.

        Raises:
            AssayError: One of its prompts was refused, or the engine died.
        """
        async with self._models.borrowed(work.model) as (engine, lease):
            batch = Batch(lease.id, work.digest, work.items)
            async with aclosing(GenerateStream(engine).run(_once(batch))) as stream:
                async for answers in stream:
                    for answer in answers:
                        if isinstance(answer, Failure):
                            raise item_error(answer)
                        yield answer

    def _guarded(self, endpoint: Endpoint, scope: Scope) -> Callable[..., Awaitable[Response]]:
        """An endpoint with request id, token, scope, metrics, one log line, and errors as JSON."""

        async def guarded(request: Request) -> Response:
            call = context_from(request.headers)
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(
                request_id=call.request_id, trace_id=call.trace_id
            )
            started = time.perf_counter()
            try:
                principal = self._authenticator.authenticate(request.headers, ())
                principal.require_scope(scope)
                response = await endpoint(request, principal)
            except Exception as failure:  # noqa: BLE001 - the boundary: nothing goes out as a traceback
                error = failure if isinstance(failure, AssayError) else _unexpected(failure, call)
                response = JSONResponse(body_of(error), status_of(error), headers_of(error))
            response.headers[REQUEST_ID_KEY] = call.request_id
            metrics.HTTP_REQUESTS.labels(endpoint.__name__, str(response.status_code)).inc()
            _LOG.info(
                "http",
                endpoint=endpoint.__name__,
                status=response.status_code,
                seconds=round(time.perf_counter() - started, 6),
            )
            return response

        return guarded


def _id(record: ModelRecord) -> str:
    return record.model.id


def _digest(record: ModelRecord) -> str:
    return record.model.artifact_digest


def _uri(record: ModelRecord) -> str:
    return record.model.artifact_uri


def _directory(record: ModelRecord) -> str:
    return record.model.artifact_uri.rstrip("/").rpartition("/")[2]


def _card(record: ModelRecord) -> dict[str, Any]:
    model = record.model
    return {
        "id": model.id,
        "object": "model",
        "created": int(record.record.create_time.timestamp()),
        "owned_by": model.project,
        "root": _directory(record),
        "max_model_len": model.engine.max_model_len,
        "artifact_digest": model.artifact_digest,
        "engine_id": model.engine_id,
    }


async def _once(batch: Batch) -> AsyncIterator[Batch]:
    yield batch


async def _chained(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        yield first
        async for event in rest:
            yield event


async def _document(request: Request, model: type[DocumentT]) -> DocumentT:
    """The request's body.

    Raises:
        InvalidArgument: It is too long, or not such a document; names the field, shows no text.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_MESSAGE_BYTES:
            raise InvalidArgument.of(
                "body", "is longer than 4 MiB", remedy="send fewer or shorter prompts"
            )
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        if error.errors(include_input=False, include_url=False)[0]["type"] == "json_invalid":
            raise InvalidArgument.of("body", "is not JSON", remedy="send a JSON object") from None
        raise invalid_argument(error, "", model, show_text=False) from None


async def _unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """The result of `work`, which is cancelled if the client goes away."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.ensure_future(work)
    watch = asyncio.create_task(gone())
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Cancelled("the client closed the connection")
        return task.result()
    finally:
        for either in (task, watch):
            either.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


def _unexpected(failure: Exception, call: CallContext) -> Internal:
    _LOG.error("unexpected_error", **exception_facts(failure))
    return Internal(
        "unexpected error in this service",
        remedy=f"look for request id {call.request_id} in its logs",
    )


async def _no_route(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    body = {
        "message": "there is no such endpoint, or not with this method",
        "type": "invalid_request_error",
        "param": None,
        "code": "unknown_url",
    }
    return JSONResponse({"error": body}, status)
