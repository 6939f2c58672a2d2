"""What an engine answers, as the JSON documents of the OpenAI API."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from assay_serving.domain import Completion, Delta, Item, TextPrompt, TokenLogprob
from assay_serving.http.schema import ChatRequest, CompletionRequest

Document = dict[str, Any]

LEAST_LOGPROB = -9999.0
"""What the OpenAI API says for a token that cannot be drawn."""


class Writer(Protocol):
    """Writes the answers of one request: at once, or event by event."""

    def whole(self, completions: Sequence[Completion]) -> Document:
        """The answer to a request without `stream`."""

    def piece(self, delta: Delta) -> list[Document]:
        """Events of the next piece of a choice."""

    def end(self, completion: Completion) -> list[Document]:
        """Events of the end of a choice."""

    def usage(self, completions: Sequence[Completion]) -> Document:
        """The last event, where `include_usage` is set."""


class CompletionWriter:
    """`text_completion` documents."""

    def __init__(self, request: CompletionRequest, items: Sequence[Item], digest: str) -> None:
        self._request = request
        self._n = request.n or 1
        self._items = {item.id: item for item in items}
        self._head = _head("cmpl", "text_completion", request.model, digest)

    def whole(self, completions: Sequence[Completion]) -> Document:
        """See `Writer`."""
        choices = sorted((self._choice(c) for c in completions), key=lambda c: c["index"])
        nothing = self._request.max_tokens == 0
        return self._head | {"choices": choices, "usage": _usage(completions, nothing=nothing)}

    def piece(self, delta: Delta) -> list[Document]:
        """See `Writer`."""
        logprobs = self._logprobs(delta.logprobs)
        return [self._event(_choice_index(delta, self._n), delta.text, logprobs, None)]

    def end(self, completion: Completion) -> list[Document]:
        """See `Writer`."""
        index = _choice_index(completion, self._n)
        return [self._event(index, "", None, completion.finish_reason.value)]

    def usage(self, completions: Sequence[Completion]) -> Document:
        """See `Writer`."""
        return self._head | {"choices": [], "usage": _usage(completions)}

    def _event(self, index: int, text: str, logprobs: Any, finish: str | None) -> Document:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return self._head | {"choices": [choice]}

    def _choice(self, completion: Completion) -> Document:
        nothing = self._request.max_tokens == 0
        text = "" if nothing else completion.text
        entries: list[TokenLogprob | str] = [] if nothing else list(completion.logprobs)
        if self._request.echo:
            prompt = self._items[completion.item_id].prompt
            echoed = completion.prompt_texts
            text = (prompt.text if isinstance(prompt, TextPrompt) else "".join(echoed)) + text
            entries = [echoed[0], *completion.prompt_logprobs, *entries] if echoed else entries
        return {
            "index": _choice_index(completion, self._n),
            "text": text,
            "logprobs": self._logprobs(entries),
            "finish_reason": "length" if nothing else completion.finish_reason.value,
        }

    def _logprobs(self, entries: Iterable[TokenLogprob | str]) -> Document | None:
        """The legacy form; a bare text stands for a prompt's first token, which has none."""
        if self._request.logprobs is None:
            return None
        tokens, values, offsets = [], [], []
        top: list[dict[str, float] | None] = []
        offset = 0
        for entry in entries:
            text = entry if isinstance(entry, str) else entry.text
            tokens.append(text)
            offsets.append(offset)
            offset += len(text)
            values.append(None if isinstance(entry, str) else _logprob(entry))
            top.append(None if isinstance(entry, str) else self._top(entry))
        return {
            "tokens": tokens,
            "token_logprobs": values,
            "top_logprobs": top,
            "text_offset": offsets,
        }

    def _top(self, entry: TokenLogprob) -> dict[str, float]:
        likeliest = entry.top[: self._request.logprobs]
        return {other.text: _logprob(other) for other in (*likeliest, entry)}


class ChatWriter:
    """`chat.completion` and `chat.completion.chunk` documents."""

    def __init__(self, request: ChatRequest, digest: str) -> None:
        self._request = request
        self._head = _head("chatcmpl", "chat.completion", request.model, digest)
        self._chunk = self._head | {"object": "chat.completion.chunk"}
        self._begun: set[int] = set()

    def whole(self, completions: Sequence[Completion]) -> Document:
        """See `Writer`."""
        choices = [
            {
                "index": completion.index,
                "message": {"role": "assistant", "content": completion.text, "refusal": None},
                "logprobs": self._logprobs(completion.logprobs),
                "finish_reason": completion.finish_reason.value,
            }
            for completion in sorted(completions, key=lambda c: c.index)
        ]
        return self._head | {"choices": choices, "usage": _usage(completions)}

    def piece(self, delta: Delta) -> list[Document]:
        """See `Writer`."""
        content = {"content": delta.text}
        logprobs = self._logprobs(delta.logprobs)
        return [*self._begin(delta.index), self._event(delta.index, content, logprobs, None)]

    def end(self, completion: Completion) -> list[Document]:
        """See `Writer`."""
        reason = completion.finish_reason.value
        return [*self._begin(completion.index), self._event(completion.index, {}, None, reason)]

    def usage(self, completions: Sequence[Completion]) -> Document:
        """See `Writer`."""
        return self._chunk | {"choices": [], "usage": _usage(completions)}

    def _begin(self, index: int) -> list[Document]:
        if index in self._begun:
            return []
        self._begun.add(index)
        return [self._event(index, {"role": "assistant", "content": ""}, None, None)]

    def _event(self, index: int, delta: Document, logprobs: Any, finish: str | None) -> Document:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return self._chunk | {"choices": [choice]}

    def _logprobs(self, entries: Sequence[TokenLogprob]) -> Document | None:
        if not self._request.logprobs:
            return None
        top = self._request.top_logprobs or 0
        return {
            "content": [
                _token(entry) | {"top_logprobs": [_token(other) for other in entry.top[:top]]}
                for entry in entries
            ]
        }


def _token(entry: TokenLogprob) -> Document:
    return {"token": entry.text, "logprob": _logprob(entry), "bytes": list(entry.text.encode())}


def _logprob(entry: TokenLogprob) -> float:
    """A number that JSON has: weights that are broken give NaN and minus infinity."""
    return max(entry.logprob, LEAST_LOGPROB) if math.isfinite(entry.logprob) else LEAST_LOGPROB


def _head(prefix: str, kind: str, model: str, digest: str) -> Document:
    return {
        "id": f"{prefix}-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": digest,
    }


def _choice_index(answer: Completion | Delta, n: int) -> int:
    return int(answer.item_id) * n + answer.index


def _usage(completions: Sequence[Completion], *, nothing: bool = False) -> Document:
    """Token counts; a prompt counts once however many completions it has."""
    prompts = {completion.item_id: completion for completion in completions}.values()
    prompt = sum(completion.prompt_tokens for completion in prompts)
    drawn = 0 if nothing else sum(completion.completion_tokens for completion in completions)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": drawn,
        "total_tokens": prompt + drawn,
        "prompt_tokens_details": {"cached_tokens": min(p.cached_tokens for p in prompts)},
    }
