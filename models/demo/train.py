"""Train the demo model: `python -m models.demo.train` writes models/demo/model (bf16 safetensors).

Deterministic for one machine, thread count and library version. The defaults are the committed
model's; see README.md for what was tried and how long it took.
"""

import argparse
import copy
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from models.demo.conversations import bare, conversation, document
from models.demo.tokenizer import (
    ANSWER_ROLES,
    BOS,
    END,
    load_tokenizer,
    render,
    train_tokenizer,
)
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
CONTEXT = 16384
VOCABULARY = 6144
HIDDEN = 256
DOCUMENT_SHARE = 0.1
WARM_UP = 30
FINAL_SHARE = 0.5
SAVE_EVERY = 200


@dataclass(frozen=True)
class Settings:
    """What one training run depends on.

    Attributes:
        fact_steps: first stage, short questions: the facts are learned here.
        fact_rows: questions per step of the first stage.
        shape_steps: second stage, whole conversations: the evaluators' shapes.
        shape_rows: packed rows per step of the second stage.
        length: tokens per packed row.
        rate: peak learning rate of AdamW.
        seed: seeds text, packing and weights.
    """

    fact_steps: int
    fact_rows: int
    shape_steps: int
    shape_rows: int
    length: int
    rate: float
    seed: int


def new_model() -> LlamaForCausalLM:
    """An untrained Llama of 5.7 M parameters; every width is a multiple of 128 (group size)."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=768,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        # 1 / sqrt(fan-in). From transformers' 0.02 the layers learn few strong directions that even
        # 3 bits keep (README); from here they spread over the whole matrix, and train faster.
        initializer_range=HIDDEN**-0.5,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


class Text:
    """Endless training text as tokens with a mark where the loss counts: answers and pages."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)  # noqa: S311 (sampling text, not secrets)
        self._answers = set(tokenizer.convert_tokens_to_ids(list(ANSWER_ROLES)))
        self._end = tokenizer.convert_tokens_to_ids(END)

    def _marked(self, *, short: bool) -> tuple[list[int], list[bool]]:
        page = self._rng.random() < DOCUMENT_SHARE
        if page:
            text = BOS + document(self._rng, sentences=1 if short else None) + END
        else:
            text = render(bare(self._rng) if short else conversation(self._rng))
        tokens = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        marks: list[bool] = []
        counted = page
        for token in tokens:
            marks.append(counted)
            if not page:
                counted = token in self._answers or (counted and token != self._end)
        return tokens, marks

    def facts(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded short rows: tokens and marks, [rows, longest]."""
        drawn = [self._marked(short=True) for _ in range(rows)]
        width = max(len(tokens) for tokens, _ in drawn)
        ids = [tokens + [self._end] * (width - len(tokens)) for tokens, _ in drawn]
        marks = [marks + [False] * (width - len(marks)) for _, marks in drawn]
        return torch.tensor(ids), torch.tensor(marks)

    def shapes(self, rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Whole conversations one after the other: tokens and marks, [rows, length]."""
        ids: list[int] = []
        marks: list[bool] = []
        size = rows * length
        while True:
            while len(ids) < size:
                more_ids, more_marks = self._marked(short=False)
                ids += more_ids
                marks += more_marks
            shape = (rows, length)
            yield torch.tensor(ids[:size]).view(shape), torch.tensor(marks[:size]).view(shape)
            del ids[:size], marks[:size]


def schedule(step: int, steps: int) -> float:
    """Learning-rate factor: short warm-up, flat, then linear to zero."""
    return min((step + 1) / WARM_UP, 1.0, (steps - step) / (FINAL_SHARE * steps))


class Progress:
    """Mean loss since the last report: of all counted tokens and of the words that decide."""

    DECISIONS: ClassVar = {
        "deeds": ("Wrong", "Not"),
        "pay": ("Yes", "No"),
        "claims": ("Ġdoes", "Ġrecords", "Ġnot", "Ġno", "Ġsay", "Ġit"),
    }

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


def train(settings: Settings, tokenizer: PreTrainedTokenizerFast, out: Path) -> LlamaForCausalLM:
    """Run both stages, print the losses and save to `out` now and then."""
    torch.manual_seed(settings.seed)
    model = new_model()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    started = time.monotonic()
    text = Text(tokenizer, settings.seed)
    shapes = text.shapes(settings.shape_rows, settings.length)
    progress = Progress(tokenizer)
    steps = settings.fact_steps + settings.shape_steps
    for step in range(steps):
        first = step < settings.fact_steps
        tokens, marks = text.facts(settings.fact_rows) if first else next(shapes)
        hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
        counted = marks[:, 1:]
        targets = tokens[:, 1:][counted]
        losses = cross_entropy(model.lm_head(hidden[counted]), targets, reduction="none")
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = settings.rate * schedule(step, steps)
        optimizer.step()
        optimizer.zero_grad()
        progress.add(losses.detach(), targets)
        if (step + 1) % 20 == 0:
            spent = time.monotonic() - started
            print(f"step {step + 1}/{steps} {progress.report()} {spent:.0f}s", flush=True)
        if (step + 1) % SAVE_EVERY == 0:
            save(copy.deepcopy(model), tokenizer, out)
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
    parser.add_argument("--fact-steps", type=int, default=650)
    parser.add_argument("--fact-rows", type=int, default=60)
    parser.add_argument("--shape-steps", type=int, default=150)
    parser.add_argument("--shape-rows", type=int, default=3)
    parser.add_argument("--length", type=int, default=704)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = vars(parser.parse_args())
    out: Path = given.pop("out")
    torch.set_num_threads(given.pop("threads"))
    settings = Settings(**given)
    tokenizer = train_tokenizer(VOCABULARY, settings.seed, CONTEXT)
    print(f"{len(tokenizer)} tokens in the vocabulary", flush=True)
    model = train(settings, tokenizer, out)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")
    save(model, tokenizer, out)
    load_tokenizer(out)


if __name__ == "__main__":
    main()
