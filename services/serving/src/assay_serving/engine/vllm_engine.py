"""vLLM's AsyncLLM behind a small interface: start, swap weights, generate, stop.

This is the only module that imports vLLM, which takes 17 s; a replica imports it when it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from vllm import AsyncEngineArgs, SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError as VllmEngineDeadError
from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

from assay_serving.domain import (
    Completion,
    Delta,
    EngineSpec,
    Failure,
    FailureKind,
    FinishReason,
    Item,
    Sampling,
    TokenLogprob,
    TokenPrompt,
)
from assay_serving.engine.arguments import engine_keywords
from assay_serving.engine.errors import EngineDeadError
from assay_serving.engine.prompts import Encoded, PromptEncoder
from assay_serving.engine.sampling import completion_seed, engine_arguments

_PROBE = Item("probe", TokenPrompt((0,)), Sampling(temperature=0.0, max_tokens=1))


class VllmEngine:
    """One running AsyncLLM and the prompt encoder of its tokenizer."""

    def __init__(self, llm: Any, encoder: PromptEncoder) -> None:
        self._llm = llm
        self.encoder = encoder

    @classmethod
    def start(cls, path: str, spec: EngineSpec, *, with_metrics: bool) -> VllmEngine:
        """Start an engine on the checkpoint at `path`. Blocks for 30 to 70 s on two cores.

        With metrics, vLLM's own go to Ray, which serves them beside its own.
        """
        llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                **engine_keywords(path, spec),
                enable_log_requests=False,
                disable_log_stats=not with_metrics,
            ),
            stat_loggers=[RayPrometheusStatLogger] if with_metrics else None,
        )
        encoder = PromptEncoder(
            llm.get_tokenizer(),
            max_model_len=llm.model_config.max_model_len,
            vocabulary_size=llm.model_config.get_vocab_size(),
        )
        return cls(llm, encoder)

    @property
    def dead(self) -> bool:
        """Whether the engine process is gone."""
        return bool(self._llm.errored)

    async def reload_weights(self, path: str) -> None:
        """Replace the weights in place by those at `path`; no request may be running.

        The prefix cache holds keys and values of the old weights, so it goes with them.

        Raises:
            RuntimeError: The prefix cache could not be reset: some request was still running.
        """
        await self._llm.collective_rpc("swap_weights", args=(path,))
        if not await self._llm.reset_prefix_cache():
            raise RuntimeError("prefix cache not reset: a request was running during the swap")

    async def probe(self) -> None:
        """Draw one token; an engine that cannot is not ready."""
        result = await self.complete(_PROBE, 0, Encoded([0], ""), "")
        if isinstance(result, Failure):
            raise RuntimeError(f"no token came out: {result.kind}")

    async def complete(
        self,
        item: Item,
        index: int,
        prompt: Encoded,
        artifact_digest: str,
        on_delta: Callable[[Delta], None] | None = None,
    ) -> Completion | Failure:
        """Generate completion `index` of `item`. Cancelling this call aborts it in the engine.

        Args:
            item: The prompt's item.
            index: Which completion of it.
            prompt: The item's prompt as token ids.
            artifact_digest: Goes into the answer.
            on_delta: Called with each piece as it comes; None asks for the whole only.

        Raises:
            EngineDeadError: The engine process is gone.
        """
        first = item.sampling.prompt_logprobs and index == min(item.indices)
        arguments = engine_arguments(
            item.sampling,
            max_tokens=prompt.max_tokens,
            seed=completion_seed(item.seed, index),
            with_prompt_logprobs=first,
        )
        kind = RequestOutputKind.DELTA if on_delta else RequestOutputKind.FINAL_ONLY
        whole = _Whole()
        try:
            params = SamplingParams(output_kind=kind, **arguments)
            # The id is ours: items of two streams may have the same id.
            answers = self._llm.generate(tokens_input(list(prompt.ids)), params, uuid4().hex)
            async for answer in answers:
                piece = answer.outputs[0]
                logprobs = _logprobs(piece.token_ids, piece.logprobs, item.sampling.logprobs)
                whole.add(answer, piece, logprobs)
                if on_delta and piece.token_ids:
                    on_delta(Delta(item.id, index, piece.text, len(piece.token_ids), logprobs))
        except VllmEngineDeadError:
            raise EngineDeadError from None
        except VLLMClientError as error:
            return self._refused(item, index, prompt, type(error).__name__)
        if whole.finish_reason not in set(FinishReason):
            return self._refused(item, index, prompt, f"finish reason {whole.finish_reason}")
        return Completion(
            item_id=item.id,
            index=index,
            text="".join(whole.texts),
            finish_reason=FinishReason(whole.finish_reason),
            prompt_tokens=len(prompt.ids),
            completion_tokens=whole.tokens,
            artifact_digest=artifact_digest,
            prompt_digest=prompt.digest,
            logprobs=tuple(whole.logprobs),
            prompt_logprobs=_logprobs(prompt.ids, whole.prompt_logprobs, item.sampling.logprobs),
            prompt_texts=self.encoder.texts_of(prompt.ids) if item.echo else (),
            cached_tokens=whole.cached_tokens,
        )

    def stop(self) -> None:
        """End the engine's processes."""
        self._llm.shutdown()

    @staticmethod
    def _refused(item: Item, index: int, prompt: Encoded, why: str) -> Failure:
        return Failure(
            item.id,
            index,
            FailureKind.ENGINE_REFUSED,
            f"the engine refused the request ({why})",
            prompt_tokens=len(prompt.ids),
            prompt_digest=prompt.digest,
        )


@dataclass(slots=True)
class _Whole:
    """A completion put together from its pieces; there is one piece unless it is streamed."""

    texts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    tokens: int = 0
    finish_reason: str | None = None
    prompt_logprobs: Any = None
    cached_tokens: int = 0

    def add(self, answer: Any, piece: Any, logprobs: Sequence[TokenLogprob]) -> None:
        self.texts.append(piece.text)
        self.logprobs += logprobs
        self.tokens += len(piece.token_ids)
        self.finish_reason = piece.finish_reason
        self.prompt_logprobs = self.prompt_logprobs or answer.prompt_logprobs
        self.cached_tokens = max(self.cached_tokens, answer.num_cached_tokens or 0)


def _logprobs(ids: Any, positions: Any, top: int) -> tuple[TokenLogprob, ...]:
    """One entry per token; the first token of a prompt has no probability and is left out."""
    if positions is None:
        return ()
    rows = []
    for token_id, candidates in zip(ids, positions, strict=True):
        if candidates is None:
            continue
        ranked = sorted(candidates.items(), key=lambda pair: pair[1].rank)
        rows.append(
            TokenLogprob(
                token_id,
                candidates[token_id].logprob,
                candidates[token_id].decoded_token or "",
                tuple(
                    TokenLogprob(other, entry.logprob, entry.decoded_token or "")
                    for other, entry in ranked[:top]
                ),
            )
        )
    return tuple(rows)
