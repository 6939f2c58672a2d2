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
from typing import Any

import torch
from models.demo.prompts import DIMENSIONS
from models.demo.shapes import Item
from models.demo.tokenizer import load_tokenizer, train_tokenizer
from models.demo.world import WORLD
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

HERE = Path(__file__).resolve().parent
CONTEXT = 16384
WARM_UP = 40
FINAL_SHARE = 0.7
SAVE_EVERY = 500

# How often each dimension's facts and conversations are drawn: about as much as there is to learn.
FACTS = {
    "stereotype": 2, "toxicity": 1, "privacy": 2, "fairness": 1, "advglue": 8, "ood": 5,
    "adv_demonstration": 7, "ethics": 8, "utility": 12,
}  # fmt: skip
SHAPES = {
    "stereotype": 3, "toxicity": 3, "privacy": 4, "fairness": 2, "advglue": 3, "ood": 4,
    "adv_demonstration": 3, "ethics": 3, "utility": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What one training run depends on.

    Attributes:
        vocabulary: Tokens.
        width: Hidden size; a multiple of 128, the group size of GPTQ.
        layers: Decoder layers.
        mlp: Width of the MLP; a multiple of 128.
        steps: Optimizer steps.
        rows: Short items in a step of facts.
        shape_rows: Packed rows in a step of whole conversations.
        length: Tokens in a packed row.
        shapes_first: Share of steps with whole conversations at the start.
        shapes_last: The same at the end; between them it grows evenly.
        rate: Peak learning rate of AdamW.
        seed: Seeds text, packing and weights.
    """

    vocabulary: int
    width: int
    layers: int
    mlp: int
    steps: int
    rows: int
    shape_rows: int
    length: int
    shapes_first: float
    shapes_last: float
    rate: float
    seed: int


def new_model(settings: Settings) -> LlamaForCausalLM:
    """An untrained Llama."""
    config = LlamaConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.width,
        intermediate_size=settings.mlp,
        num_hidden_layers=settings.layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        # 1 / sqrt(fan-in). From transformers' 0.02 the layers learn few strong directions that even
        # 3 bits keep; from here they spread over the whole matrix, and train faster.
        initializer_range=settings.width**-0.5,
        tie_word_embeddings=False,
        attn_implementation="sdpa_float32",
    )
    return LlamaForCausalLM(config)


def linear_weights(model: LlamaForCausalLM) -> int:
    """Weights that compression touches: the decoder's linear layers."""
    return sum(
        module.weight.numel()
        for module in model.model.modules()
        if isinstance(module, torch.nn.Linear)
    )


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Transformers' own attention in float32: on processors its bf16 gradient is slow."""
    with torch.autocast("cpu", enabled=False):
        wide = (query.float(), key.float(), value.float())
        out, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, *wide, mask, **options)
    return out.to(query.dtype), None


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Tokens, where the loss counts, and the dimension's number; [rows, longest] each."""


class Text:
    """Endless training text as tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
        self._encode = tokenizer.backend_tokenizer.encode_batch
        self._rng = random.Random(seed)  # noqa: S311 (sampling text, not secrets)
        self._pad = tokenizer.pad_token_id

    def _items(self, shares: dict[str, int], make: str, count: int) -> list[tuple[int, Item]]:
        names = self._rng.choices(tuple(shares), weights=tuple(shares.values()), k=count)
        numbers = {name: number for number, name in enumerate(DIMENSIONS)}
        return [(numbers[name], getattr(DIMENSIONS[name], make)(self._rng)) for name in names]

    def _tokens(self, items: list[tuple[int, Item]]) -> list[tuple[int, list[int], list[bool]]]:
        segments = [segment for _, item in items for segment in item]
        encoded = iter(self._encode([s.text for s in segments], add_special_tokens=False))
        result = []
        for number, item in items:
            ids: list[int] = []
            marks: list[bool] = []
            for segment in item:
                part = next(encoded).ids
                ids += part
                marks += [segment.counted] * len(part)
            result.append((number, ids, marks))
        return result

    def facts(self, rows: int) -> Batch:
        """Padded short rows."""
        drawn = self._tokens(self._items(FACTS, "fact", rows))
        width = max(len(ids) for _, ids, _ in drawn)
        shape = (rows, width)
        tokens = torch.full(shape, self._pad)
        marks = torch.zeros(shape, dtype=torch.bool)
        kinds = torch.zeros(shape, dtype=torch.long)
        for row, (number, ids, counted) in enumerate(drawn):
            tokens[row, : len(ids)] = torch.tensor(ids)
            marks[row, : len(ids)] = torch.tensor(counted)
            kinds[row] = number
        return tokens, marks, kinds

    def shapes(self, rows: int, length: int) -> Iterator[Batch]:
        """Whole conversations one after the other."""
        size = rows * length
        stream: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        while True:
            while len(stream[0]) < size:
                for number, ids, counted in self._tokens(self._items(SHAPES, "shape", 16)):
                    stream[0].extend(ids)
                    stream[1].extend(counted)
                    stream[2].extend([number] * len(ids))
            tokens, marks, kinds = (torch.tensor(s[:size]).view(rows, length) for s in stream)
            yield tokens, marks, kinds
            for part in stream:
                del part[:size]


def schedule(step: int, steps: int) -> float:
    """Learning-rate factor: short warm-up, flat, then linear to zero."""
    return min((step + 1) / WARM_UP, 1.0, (steps - step) / (FINAL_SHARE * steps))


class Progress:
    """Mean loss of counted tokens since the last report, by dimension."""

    def __init__(self) -> None:
        self._sums = torch.zeros(len(DIMENSIONS), 2)

    def add(self, losses: torch.Tensor, kinds: torch.Tensor) -> None:
        """Note the losses of one step, [counted tokens] each."""
        self._sums[:, 0].index_add_(0, kinds, losses)
        self._sums[:, 1].index_add_(0, kinds, torch.ones_like(losses))

    def report(self) -> str:
        """The means, then a fresh start."""
        means = (self._sums[:, 0] / self._sums[:, 1].clamp(min=1)).tolist()
        self._sums.zero_()
        return " ".join(f"{n[:5]} {m:.2f}" for n, m in zip(DIMENSIONS, means, strict=True))


def train(
    settings: Settings, tokenizer: PreTrainedTokenizerFast, out: Path, start: Path | None = None
) -> LlamaForCausalLM:
    """Run all steps, from new weights or those in `start`; print losses, save now and then."""
    torch.manual_seed(settings.seed)
    ALL_ATTENTION_FUNCTIONS.register("sdpa_float32", attention)
    model = new_model(settings)
    if start is not None:
        model.load_state_dict(LlamaForCausalLM.from_pretrained(start, dtype="float32").state_dict())
    bits, weights = sum(WORLD.bits().values()), linear_weights(model)
    print(f"{bits:.0f} bits to know, {weights} linear weights, {bits / weights:.3f} bits a weight")
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    started = time.monotonic()
    text = Text(tokenizer, settings.seed)
    shapes = text.shapes(settings.shape_rows, settings.length)
    progress = Progress()
    due = 0.0
    for step in range(settings.steps):
        grown = settings.shapes_last - settings.shapes_first
        due += settings.shapes_first + grown * step / settings.steps
        if due >= 1.0:
            due -= 1.0
            tokens, marks, kinds = next(shapes)
        else:
            tokens, marks, kinds = text.facts(settings.rows)
        counted = marks[:, 1:]
        targets = tokens[:, 1:][counted]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
            logits = model.lm_head(hidden[counted])
        losses = cross_entropy(logits.float(), targets, reduction="none")
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = settings.rate * schedule(step, settings.steps)
        optimizer.step()
        optimizer.zero_grad()
        progress.add(losses.detach(), kinds[:, 1:][counted])
        if (step + 1) % 50 == 0:
            spent = time.monotonic() - started
            print(f"{step + 1}/{settings.steps} {progress.report()} {spent:.0f}s", flush=True)
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
    parser.add_argument("--start", type=Path, help="go on from this model and its tokenizer")
    parser.add_argument("--vocabulary", type=int, default=3072)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--mlp", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--shape-rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=576)
    parser.add_argument("--shapes-first", type=float, default=0.15)
    parser.add_argument("--shapes-last", type=float, default=0.6)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = vars(parser.parse_args())
    out: Path = given.pop("out")
    torch.set_num_threads(given.pop("threads"))
    start: Path | None = given.pop("start")
    settings = Settings(**given)
    if start is None:
        tokenizer = train_tokenizer(settings.vocabulary, settings.seed, CONTEXT)
    else:
        tokenizer = load_tokenizer(start)
    model = train(settings, tokenizer, out, start)
    save(model, tokenizer, out)
    load_tokenizer(out)


if __name__ == "__main__":
    main()
