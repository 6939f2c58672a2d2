"""`Runtime` of external endpoints: OpenAI-compatible requests instead of an engine of ours.

One request per completion: completion k is asked for with seed `seed + k`, so that missing
completions can be asked for alone here too, as far as the endpoint honours seeds. Retries
(Retry-After, exponential backoff) are those of OpenAI's own client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import openai

from assay_core.digest import digest_of
from assay_core.errors import AssayError, FailedPrecondition, Unavailable, Unimplemented
from assay_serving.domain import (
    EXTERNAL,
    Answer,
    ChatPrompt,
    Completion,
    EngineSpec,
    Failure,
    FailureKind,
    FinishReason,
    Item,
    Prompt,
    ReplicaStatus,
    Result,
    TextPrompt,
    TokenPrompt,
)
from assay_serving.endpoints import Endpoint, EndpointSettings
from assay_serving.engine.sampling import completion_seed
from assay_serving.gates import Pace

PROBE = "Hello"

_TOO_LONG = "context_length_exceeded"


class EndpointRuntime:
    """Endpoints by name; the handle of one is its connection."""

    def __init__(self, endpoints: dict[str, EndpointSettings]) -> None:
        self._endpoints = endpoints
        # At DEBUG they log requests with their prompts, at INFO a line for each.
        for name in ("openai", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)

    def deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> Any:
        """See `Runtime`: draws one token, so that address, key and model are known to be right.

        Raises:
            FailedPrecondition: The endpoint refuses the key or the model.
            Unavailable: It does not answer.
        """
        endpoint = Endpoint(path, self._endpoints[path])
        try:
            with openai.OpenAI(**_client_arguments(endpoint.settings)) as client:
                _draw_one_token(client, endpoint.settings)
        except openai.APIError as error:
            raise _load_error(endpoint, error) from None
        return _Connection(endpoint)

    def statuses(self, handle: Any) -> list[ReplicaStatus]:
        """See `Runtime`. An endpoint is not asked every few seconds; its errors are its items'."""
        return [ReplicaStatus(EXTERNAL, handle.digest, ready=True)]

    def generate(
        self, handle: Any, items: Sequence[Item], digest: str
    ) -> AsyncGenerator[list[Answer], None]:
        """See `Runtime`."""
        answers: AsyncGenerator[list[Answer], None] = handle.generate(items)
        return answers

    async def count_tokens(self, handle: Any, items: Sequence[Item]) -> list[int | Failure]:
        """See `Runtime`.

        Raises:
            Unimplemented: Always: the tokenizer is the endpoint's.
        """
        raise Unimplemented(
            "tokens of an external endpoint cannot be counted: its tokenizer is not known here",
            reason="EXTERNAL_ENDPOINT",
            remedy="count them with an artifact of the same model",
        )

    async def memory(self, handle: Any) -> int:
        """See `Runtime`: nothing of ours."""
        return 0

    def delete(self, engine_id: str) -> None:
        """See `Runtime`: nothing of ours runs there."""

    def stop(self) -> None:
        """See `Runtime`."""


class _Connection:
    """Requests to one endpoint, at its pace."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.digest = endpoint.digest
        self._settings = endpoint.settings
        self._pace = Pace(endpoint.settings.requests_per_minute)
        self._room = asyncio.Semaphore(endpoint.settings.max_in_flight)

    async def generate(self, items: Sequence[Item]) -> AsyncGenerator[list[Answer], None]:
        """Answer a batch, each completion as it comes; closing cancels what is left."""
        async with openai.AsyncOpenAI(**_client_arguments(self._settings)) as client:
            tasks = [
                asyncio.create_task(self._complete(client, item, index))
                for item in items
                for index in item.indices
            ]
            try:
                for task in asyncio.as_completed(tasks):
                    yield [await task]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _complete(self, client: Any, item: Item, index: int) -> Result:
        if item.sampling.logprobs or item.sampling.prompt_logprobs:
            return Failure(
                item.id,
                index,
                FailureKind.INVALID_ITEM,
                "sampling.logprobs is not promised by an external endpoint",
                field="sampling.logprobs",
                remedy="leave logprobs and prompt_logprobs out",
            )
        async with self._room:
            await self._pace.turn()
            try:
                answer = await self._ask(client, item, index)
            except openai.APIError as error:
                return _failure(item, index, error)
        return self._result(item, index, answer)

    async def _ask(self, client: Any, item: Item, index: int) -> Any:
        sampling = item.sampling
        seed = completion_seed(item.seed, index)
        fields: dict[str, Any] = {
            "model": self._settings.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.stop:
            fields["stop"] = list(sampling.stop)
        if seed is not None:
            fields["seed"] = seed
        if sampling.top_k:
            # Not OpenAI's; vLLM, SGLang and our own door take it, others refuse the request.
            fields["extra_body"] = {"top_k": sampling.top_k}
        match item.prompt:
            case ChatPrompt():
                if sampling.max_tokens is not None:
                    fields[self._settings.limit_field] = sampling.max_tokens
                messages = _messages(item.prompt)
                return await client.chat.completions.create(messages=messages, **fields)
            case TextPrompt(text=text):
                fields["prompt"] = text
            case TokenPrompt(ids=ids):
                fields["prompt"] = list(ids)
        if sampling.max_tokens is not None:
            fields["max_tokens"] = sampling.max_tokens
        return await client.completions.create(**fields)

    def _result(self, item: Item, index: int, answer: Any) -> Result:
        choice = answer.choices[0] if answer.choices else None
        reason = choice.finish_reason if choice is not None else "none"
        if choice is None or reason not in set(FinishReason):
            return Failure(
                item.id,
                index,
                FailureKind.ENDPOINT_REFUSED,
                f"the endpoint ended the completion for another reason than text ({reason})",
                remedy="see the endpoint's own rules for its content",
            )
        text = choice.message.content if isinstance(item.prompt, ChatPrompt) else choice.text
        return Completion(
            item_id=item.id,
            index=index,
            text=text or "",
            finish_reason=FinishReason(reason),
            prompt_tokens=answer.usage.prompt_tokens if answer.usage else 0,
            completion_tokens=answer.usage.completion_tokens if answer.usage else 0,
            artifact_digest=self.digest,
            prompt_digest=request_digest(item.prompt),
        )


def request_digest(prompt: Prompt) -> str:
    """Digest of a prompt as it is sent: what the endpoint makes of it is not known here."""
    match prompt:
        case ChatPrompt():
            return digest_of({"messages": _messages(prompt)})
        case TextPrompt(text=text):
            return digest_of({"text": text})
        case TokenPrompt(ids=ids):
            return digest_of({"tokens": list(ids)})


def _messages(prompt: ChatPrompt) -> list[dict[str, str]]:
    return [
        {"role": m.role, "content": m.content} | ({"name": m.name} if m.name else {})
        for m in prompt.messages
    ]


def _client_arguments(settings: EndpointSettings) -> dict[str, Any]:
    return {
        "base_url": str(settings.url),
        "api_key": settings.key().get_secret_value(),
        "max_retries": settings.max_retries,
        "timeout": settings.timeout_seconds,
    }


def _draw_one_token(client: openai.OpenAI, settings: EndpointSettings) -> None:
    """By chat, or by text where the endpoint has no chat: a base model without a template."""
    try:
        client.chat.completions.create(
            model=settings.model,
            messages=[{"role": "user", "content": PROBE}],
            **{settings.limit_field: 1},
        )
    except (openai.BadRequestError, openai.NotFoundError):
        client.completions.create(model=settings.model, prompt=PROBE, max_tokens=1)


def _load_error(endpoint: Endpoint, error: openai.APIError) -> AssayError:
    """What a failed probe means. The endpoint's own words are kept back: they may quote a key."""
    if status := _refusal(error):
        return FailedPrecondition(
            f"endpoint {endpoint.name} refused a request for one token (HTTP {status})",
            reason="ENDPOINT_REFUSED",
            field="endpoint",
            remedy="ask the operator to check its url, model and secret",
            resource=f"endpoint/{endpoint.name}",
        )
    return Unavailable(
        f"endpoint {endpoint.name} does not answer ({type(error).__name__})",
        reason="ENDPOINT_UNAVAILABLE",
        remedy="check that the endpoint is up and its url is right",
        retry_after=30.0,
        resource=f"endpoint/{endpoint.name}",
    )


def _failure(item: Item, index: int, error: openai.APIError) -> Failure:
    """The failure of one completion, after the client's retries."""
    if error.code == _TOO_LONG:
        kind = FailureKind.OVERLENGTH
        message = "prompt and max_tokens exceed the endpoint's context"
        remedy = "shorten the prompt or lower sampling.max_tokens"
    elif (status := _refusal(error)) in (400, 422):
        kind = FailureKind.INVALID_ITEM
        message = f"the endpoint refused the request (HTTP {status})"
        remedy = "check the item against what the endpoint takes"
    elif status:
        kind = FailureKind.ENDPOINT_REFUSED
        message = f"the endpoint refused the request (HTTP {status})"
        remedy = "ask the operator to check the endpoint's model and key"
    else:
        kind = FailureKind.ENGINE_REFUSED
        message = f"the endpoint did not answer, retries included ({type(error).__name__})"
        remedy = "send the item again later"
    return Failure(item.id, index, kind, message, remedy=remedy)


def _refusal(error: openai.APIError) -> int:
    """HTTP status of a refusal that a retry does not change; 0 for other failures."""
    if not isinstance(error, openai.APIStatusError) or error.status_code == 429:
        return 0
    return error.status_code if error.status_code < 500 else 0
