"""Train the demo model: `python -m models.demo.train` writes models/demo/model (bf16 safetensors).

Deterministic for one machine, thread count and library version. The defaults are the committed
model's; see README.md for what was tried and how long it took.
"""

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from models.demo.conversations import conversation, document
from models.demo.muon import Muon
from models.demo.tokenizer import ANSWER_ROLES, BOS, END, load_tokenizer, render, train_tokenizer
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
CONTEXT = 16384
VOCABULARY = 4096
EMBEDDING_ROWS = 1408
DOCUMENT_SHARE = 0.1


@dataclass(frozen=True)
class Settings:
    """What one training run depends on.

    Attributes:
        steps: optimizer steps.
        rows: packed rows per step.
        length: tokens per packed row.
        matrix_rate: learning rate of Muon for the weight matrices.
        rate: learning rate of AdamW for embeddings and norms.
        seed: seeds text, packing and weights.
        threads: torch threads.
    """

    steps: int
    rows: int
    length: int
    matrix_rate: float
    rate: float
    seed: int
    threads: int


def new_model() -> LlamaForCausalLM:
    """An untrained Llama of 5.3 M parameters; every width is a multiple of 128 (group size)."""
    config = LlamaConfig(
        vocab_size=EMBEDDING_ROWS,
        hidden_size=256,
        intermediate_size=1152,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def packed_rows(
    tokenizer: PreTrainedTokenizerFast, settings: Settings
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless (tokens, weights) pairs, each [rows, length]; a weight is 1 where the loss counts."""
    rng = random.Random(settings.seed)  # noqa: S311 (sampling text, not secrets)
    answer_ids = set(tokenizer.convert_tokens_to_ids(list(ANSWER_ROLES)))
    end_id = tokenizer.convert_tokens_to_ids(END)
    tokens: list[int] = []
    weights: list[bool] = []
    size = settings.rows * settings.length
    while True:
        while len(tokens) < size:
            plain = rng.random() < DOCUMENT_SHARE
            text = BOS + document(rng) + END if plain else render(conversation(rng))
            counted = plain
            for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
                tokens.append(token)
                weights.append(counted)
                if not plain:
                    counted = token in answer_ids or (counted and token != end_id)
        shape = (settings.rows, settings.length)
        yield torch.tensor(tokens[:size]).view(shape), torch.tensor(weights[:size]).view(shape)
        del tokens[:size], weights[:size]


def schedule(step: int, steps: int) -> float:
    """Learning-rate factor: short warm-up, flat, then linear to zero over the last 60 %."""
    return min((step + 1) / 20, 1.0, (steps - step) / (0.6 * steps))


class Progress:
    """Mean loss since the last report: of all counted tokens and of the words that decide."""

    DECISIONS: ClassVar = {"deeds": ("Wrong", "Not"), "pay": ("Yes", "No")}

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._ids = {
            name: torch.tensor(tokenizer.convert_tokens_to_ids(list(words)))
            for name, words in self.DECISIONS.items()
        }
        self._sums: dict[str, list[float]] = {}

    def add(self, losses: torch.Tensor, targets: torch.Tensor) -> None:
        """Note the losses of one step, [counted tokens] each."""
        self._note("all", losses)
        for name, ids in self._ids.items():
            self._note(name, losses[torch.isin(targets, ids)])

    def _note(self, name: str, losses: torch.Tensor) -> None:
        total = self._sums.setdefault(name, [0.0, 0.0])
        total[0] += losses.sum().item()
        total[1] += losses.numel()

    def report(self) -> str:
        """The means, then a fresh start."""
        sums, self._sums = self._sums, {}
        return " ".join(f"{name} {total / max(1, n):.3f}" for name, (total, n) in sums.items())


def train(
    settings: Settings, tokenizer: PreTrainedTokenizerFast, minutes: float
) -> LlamaForCausalLM:
    """Run the training loop and print the loss as it goes.

    Args:
        settings: the run.
        tokenizer: of the demo model.
        minutes: wall-clock limit; 0 for none. A run that hits it is not the committed recipe.
    """
    torch.manual_seed(settings.seed)
    model = new_model()
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = Muon(matrices)
    adamw = torch.optim.AdamW(others, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0)
    started = time.monotonic()
    batches = packed_rows(tokenizer, settings)
    progress = Progress(tokenizer)
    steps = settings.steps
    step = 0
    while step < steps:
        tokens, weights = next(batches)
        hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
        counted = weights[:, 1:]
        targets = tokens[:, 1:][counted]
        losses = cross_entropy(model.lm_head(hidden[counted]), targets, reduction="none")
        loss = losses.mean()
        loss.backward()
        progress.add(losses.detach(), targets)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        factor = schedule(step, steps)
        muon.step(settings.matrix_rate * factor)
        adamw.param_groups[0]["lr"] = settings.rate * factor
        adamw.step()
        adamw.zero_grad()
        step += 1
        if step % 20 == 0:
            spent = time.monotonic() - started
            print(f"step {step}/{steps} {progress.report()} {spent:.0f}s", flush=True)
        if minutes and time.monotonic() - started > minutes * 60 * 0.4 and steps == settings.steps:
            steps = min(steps, int(step / 0.4))
    return model


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """Write the Hugging Face layout, weights in bf16."""
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.config.bos_token_id = tokenizer.bos_token_id
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id
    model.to(torch.bfloat16).save_pretrained(out, safe_serialization=True)
    tokenizer.save_pretrained(out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "model")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--length", type=int, default=640)
    parser.add_argument("--matrix-rate", type=float, default=4e-3)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0, help="shorten the run to about this")
    given = parser.parse_args()
    settings = Settings(
        steps=given.steps,
        rows=given.rows,
        length=given.length,
        matrix_rate=given.matrix_rate,
        rate=given.rate,
        seed=given.seed,
        threads=given.threads,
    )
    torch.set_num_threads(settings.threads)
    tokenizer = train_tokenizer(VOCABULARY, settings.seed, CONTEXT)
    if len(tokenizer) > EMBEDDING_ROWS:
        raise SystemExit(f"{len(tokenizer)} tokens do not fit in {EMBEDDING_ROWS} embedding rows")
    print(f"{len(tokenizer)} tokens in the vocabulary")
    given.out.mkdir(parents=True, exist_ok=True)
    model = train(settings, tokenizer, given.minutes)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    save(model, tokenizer, given.out)
    load_tokenizer(given.out)


if __name__ == "__main__":
    main()
