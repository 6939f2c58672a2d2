"""OpenAI requests to items, one per prompt: item i's completion k is choice `i * n + k`."""

from __future__ import annotations

from assay_core.errors import InvalidArgument
from assay_serving.domain import ChatMessage, ChatPrompt, Item, Prompt, Sampling
from assay_serving.domain import TextPrompt as Text
from assay_serving.domain import TokenPrompt as Tokens
from assay_serving.http.schema import ChatRequest, CompletionRequest, GenerationRequest

DEFAULT_MAX_TOKENS = 16
"""Of completions, as in the OpenAI API."""

MOST_PROMPTS = 256

_ROLES = {"developer": "system"}


def completion_items(request: CompletionRequest) -> list[Item]:
    """Items of a completion request.

    Raises:
        InvalidArgument: Too many prompts, or fields that do not go together.
    """
    if request.stream and request.echo:
        raise InvalidArgument.of("echo", "does not go with stream", remedy="leave one of them out")
    if request.max_tokens == 0 and not request.echo:
        raise InvalidArgument.of(
            "max_tokens", "is 0 without echo", remedy="ask for at least one token, or set echo"
        )
    prompts = _prompts(request)
    if len(prompts) > MOST_PROMPTS:
        raise InvalidArgument.of(
            "prompt", f"is a list of {len(prompts)}", remedy=f"send at most {MOST_PROMPTS} prompts"
        )
    wanted = DEFAULT_MAX_TOKENS if request.max_tokens is None else request.max_tokens
    scored = request.echo and request.logprobs is not None
    sampling = _sampling(
        request,
        max_tokens=max(wanted, 1),
        # The engine gives the drawn token's own value only together with an alternative.
        logprobs=0 if request.logprobs is None else max(request.logprobs, 1),
        prompt_logprobs=scored,
    )
    return [_item(i, prompt, sampling, request) for i, prompt in enumerate(prompts)]


def chat_items(request: ChatRequest) -> list[Item]:
    """The one item of a chat request.

    Raises:
        InvalidArgument: Fields that do not go together.
    """
    if request.top_logprobs is not None and not request.logprobs:
        raise InvalidArgument.of("top_logprobs", "needs logprobs", remedy="set logprobs to true")
    prompt = ChatPrompt(
        tuple(ChatMessage(_ROLES.get(m.role, m.role), m.text, m.name) for m in request.messages)
    )
    sampling = _sampling(
        request,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        logprobs=max(request.top_logprobs or 0, 1) if request.logprobs else 0,
        prompt_logprobs=False,
    )
    return [_item(0, prompt, sampling, request)]


def _prompts(request: CompletionRequest) -> list[Prompt]:
    given = request.prompt
    if isinstance(given, str):
        return [Text(given)]
    prompts: list[Prompt] = []
    ids: list[int] = []
    for part in given:
        match part:
            case str():
                prompts.append(Text(part))
            case int():
                ids.append(part)
            case _:
                prompts.append(Tokens(tuple(part)))
    return [Tokens(tuple(ids))] if ids else prompts


def _sampling(
    request: GenerationRequest, *, max_tokens: int | None, logprobs: int, prompt_logprobs: bool
) -> Sampling:
    return Sampling(
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=request.top_k or 0,
        max_tokens=max_tokens,
        stop=request.stop_texts,
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
    )


def _item(number: int, prompt: Prompt, sampling: Sampling, request: GenerationRequest) -> Item:
    return Item(
        id=str(number),
        prompt=prompt,
        sampling=sampling,
        indices=tuple(range(request.n or 1)),
        seed=request.seed,
        stream=request.stream,
        echo=isinstance(request, CompletionRequest) and request.echo,
    )
