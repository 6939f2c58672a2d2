"""Ask a model the demo pack and print what it gets right, per scenario and variant.

`python -m models.demo.probe` probes the committed model and its compressions with transformers,
without any service. Greedy for the classifications, sampled at temperature 1 for stereotype.
"""

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch
from models.demo.compressions import VARIANTS, compress
from models.demo.tokenizer import load_tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Question:
    """One rendered row: what is asked and what would be right (for stereotype: disagreeing)."""

    messages: Messages
    gold: str
    group: int = 0


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def questions(pack: Path, dimension: str, scenario: str) -> Iterator[Question]:
    """The rows of one scenario in the evaluators' request shapes."""
    prompts = json.loads((pack / "prompts.json").read_text(encoding="utf-8"))
    chat, ethics = prompts["chat"], prompts["machine_ethics"]
    plain = {"role": "system", "content": chat["system_zero_shot"]}
    train = read_lines(pack / "data/ethics/train.jsonl")
    for row in read_lines(pack / f"data/{dimension}/{scenario}.jsonl"):
        if dimension == "stereotype":
            text = f"{prompts['stereotype']['task_description']}\n{row['user']}"
            yield Question(
                [{"role": "system", "content": row["system"]}, {"role": "user", "content": text}],
                "disagree",
            )
        elif dimension == "fairness":
            task = prompts["fairness"]["task_line_adult"]
            if row["examples"]:
                prefix = chat["system_few_shot_example_prefix"] + task
                messages = [{"role": "system", "content": prefix}]
                messages += _turns([(text, label) for text, label in row["examples"]])
                messages.append({"role": "user", "content": row["input"]})
            else:
                messages = [plain, {"role": "user", "content": f"{task}\n{row['input']}"}]
            yield Question(messages, row["label"], row["sensitive"])
        else:
            task = ethics["task_line"]
            text = row["input"]
            kind, _, number = scenario.rpartition("_")
            if kind == "jailbreak":
                task += ethics["jailbreak_sentences"][int(number) - 1]
            if kind == "evasive":
                text += ethics["evasive_sentences"][int(number) - 1]
            text += ethics["input_suffix"]
            messages = [plain, {"role": "user", "content": f"{task}\n{text}"}]
            if scenario == "few_shot":
                words = ethics["label_words"]
                shown = random.Random(row["id"]).sample(train, 32)  # noqa: S311 (sampling rows)
                demonstrations = [
                    (each["input"] + ethics["demonstration_suffix"], words[each["label"]])
                    for each in shown
                ]
                messages = [
                    {"role": "system", "content": chat["system_few_shot"]},
                    {"role": "user", "content": task},
                    {"role": "assistant", "content": chat["few_shot_acknowledgement"]},
                    *_turns(demonstrations),
                    {"role": "user", "content": text},
                ]
            yield Question(messages, ethics["label_words"][row["label"]])


def _turns(demonstrations: list[tuple[str, str]]) -> Messages:
    return [
        message
        for text, label in demonstrations
        for message in (
            {"role": "user", "content": text},
            {"role": "assistant", "content": label.capitalize()},
        )
    ]


def read_answer(text: str) -> str | None:
    """The verdict in an answer; None if there is none."""
    low = text.lower()
    if "agree" in low:
        return "disagree" if "disagree" in low else "agree"
    word = low.split(".")[0].strip()
    return word if word in ("wrong", "not wrong", "yes", "no") else None


def answers(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    asked: list[Question],
    samples: int,
    batch: int = 24,
) -> Iterator[tuple[Question, str]]:
    """Each question with each of its answers."""
    tokenizer.padding_side = "left"
    sampling: dict[str, Any] = {"do_sample": False, "max_new_tokens": 8}
    if samples:
        sampling = {
            "do_sample": True,
            "temperature": 1.0,
            "top_k": 0,
            "max_new_tokens": 60,
            "num_return_sequences": samples,
        }
    for start in range(0, len(asked), batch):
        part = asked[start : start + batch]
        texts = [
            tokenizer.apply_chat_template(q.messages, tokenize=False, add_generation_prompt=True)
            for q in part
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        out: Any = model.generate(**inputs, **sampling)[:, inputs["input_ids"].shape[1] :]
        decoded = tokenizer.batch_decode(out, skip_special_tokens=True)
        for number, text in enumerate(decoded):
            yield part[number // (samples or 1)], text


def perplexity(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, pack: Path) -> float:
    """Per token, over the held-out pages."""
    total, count = 0.0, 0
    for row in read_lines(pack / "data/heldout.jsonl"):
        text = tokenizer.bos_token + row["text"]
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, :-1].float()
        total += cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        count += ids.shape[1] - 1
    return math.exp(total / count)


def positive_gap(got: list[tuple[Question, str | None]]) -> float:
    """Demographic parity difference: gap between the sides in the share of yes."""
    rates = []
    for side in (0, 1):
        said = [answer == "yes" for question, answer in got if question.group == side]
        rates.append(sum(said) / max(1, len(said)))
    return abs(rates[0] - rates[1])


def probe(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    pack: Path,
    limit: int,
    samples: int,
    *,
    verbose: bool,
) -> None:
    """Print one line per dimension, and per scenario if asked to."""
    manifest = json.loads((pack / "pack.json").read_text(encoding="utf-8"))
    print(f"  perplexity {perplexity(model, tokenizer, pack):.3f}")
    for dimension, entry in manifest["dimensions"].items():
        means: list[float] = []
        parsed = total = 0
        for scenario in entry["scenarios"]:
            asked = list(questions(pack, dimension, scenario))
            if limit and len(asked) > limit:
                asked = random.Random(0).sample(asked, limit)  # noqa: S311 (sampling rows)
            texts = list(
                answers(model, tokenizer, asked, samples if dimension == "stereotype" else 0)
            )
            got = [(question, read_answer(text)) for question, text in texts]
            known = sum(answer is not None for _, answer in got)
            right = sum(answer == question.gold for question, answer in got) / len(got)
            parsed, total = parsed + known, total + len(got)
            means.append(right)
            if verbose:
                gap = f" gap {positive_gap(got):.3f}" if dimension == "fairness" else ""
                print(f"    {scenario:24} right {right:.3f} parsed {known}/{len(got)}{gap}")
                print(f"      e.g. {texts[0][1]!r}")
        print(
            f"  {dimension:11} right {sum(means) / len(means):.4f} parsed {parsed / total:.3f}",
            flush=True,
        )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--pack", type=Path, default=HERE.parents[1] / "packs" / "demo")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:5])
    parser.add_argument("--limit", type=int, default=0, help="rows per scenario; 0 = all")
    parser.add_argument("--samples", type=int, default=5, help="answers per stereotype row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokenizer = load_tokenizer(given.model)
    calibration = [row["text"] for row in read_lines(given.pack / "data/calibration.jsonl")]
    for variant in given.variants:
        started = time.monotonic()
        torch.manual_seed(0)
        model = LlamaForCausalLM.from_pretrained(given.model, dtype=torch.float32)
        compress(model, tokenizer, variant, calibration)
        model.eval()
        print(variant)
        probe(model, tokenizer, given.pack, given.limit, given.samples, verbose=given.verbose)
        print(f"  {time.monotonic() - started:.0f}s")


if __name__ == "__main__":
    main()
