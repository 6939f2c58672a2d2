"""vLLM's AsyncLLM behind a small interface: start, swap weights, generate, stop.

This is the only module that imports vLLM, which takes 17 s; a replica imports it when it starts.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from vllm import AsyncEngineArgs, SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.inputs.engine import tokens_input
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError as VllmEngineDeadError

from assay_serving.domain import (
    Completion,
    EngineSpec,
    Failure,
    FailureKind,
    FinishReason,
    Item,
    Sampling,
    TokenLogprob,
    TokenPrompt,
)
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
    def start(cls, path: str, spec: EngineSpec) -> VllmEngine:
        """Start an engine on the checkpoint at `path`. Blocks for 30 to 70 s on two cores."""
        llm = AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=path,
                dtype=spec.dtype,
                kv_cache_dtype=spec.kv_cache_dtype,
                max_model_len=spec.max_model_len,
                tensor_parallel_size=spec.tensor_parallel_size,
                enforce_eager=spec.device == "cpu",
                enable_prefix_caching=True,
                # vLLM's default on a CPU is 128 tokens: shorter prompts would never be shared by
                # the completions of one item.
                block_size=32 if spec.device == "cpu" else None,
                # A prompt cut into chunks draws a token per chunk and rewinds the request's random
                # generator after each; CPU generators cannot, and the engine dies (vLLM 0.32,
                # gpu_model_runner._bookkeeping_sync).
                enable_chunked_prefill=spec.device != "cpu",
                trust_remote_code=False,
                load_format="safetensors",
                generation_config="vllm",
                enable_log_requests=False,
                disable_log_stats=True,
            )
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
        await self._llm.collective_rpc("reload_weights", kwargs={"weights_path": path})
        if not await self._llm.reset_prefix_cache():
            raise RuntimeError("prefix cache not reset: a request was running during the swap")

    async def probe(self) -> None:
        """Draw one token; an engine that cannot is not ready."""
        result = await self.complete(_PROBE, 0, Encoded([0], ""), "")
        if isinstance(result, Failure):
            raise RuntimeError(f"no token came out: {result.kind}")

    async def complete(
        self, item: Item, index: int, prompt: Encoded, artifact_digest: str
    ) -> Completion | Failure:
        """Generate completion `index` of `item`. Cancelling this call aborts it in the engine.

        Raises:
            EngineDeadError: The engine process is gone.
        """
        first = item.sampling.prompt_logprobs and index == min(item.indices)
        arguments = engine_arguments(
            item.sampling,
            seed=completion_seed(item.seed, index),
            with_prompt_logprobs=first,
        )
        try:
            params = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **arguments)
            # The id is ours: items of two streams may have the same id.
            answers = self._llm.generate(tokens_input(list(prompt.ids)), params, uuid4().hex)
            last = [answer async for answer in answers][-1]
        except VllmEngineDeadError:
            raise EngineDeadError from None
        except VLLMClientError as error:
            return self._refused(item, index, prompt, type(error).__name__)
        output = last.outputs[0]
        if output.finish_reason not in set(FinishReason):
            return self._refused(item, index, prompt, f"finish reason {output.finish_reason}")
        return Completion(
            item_id=item.id,
            index=index,
            text=output.text,
            finish_reason=FinishReason(output.finish_reason),
            prompt_tokens=len(prompt.ids),
            completion_tokens=len(output.token_ids),
            artifact_digest=artifact_digest,
            prompt_digest=prompt.digest,
            logprobs=_logprobs(output.token_ids, output.logprobs, item.sampling.logprobs),
            prompt_logprobs=_logprobs(prompt.ids, last.prompt_logprobs, 0) if first else (),
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
