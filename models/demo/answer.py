"""Answers the probe's questions with transformers: `python -m models.demo.answer`.

Reads questions.jsonl of the probe, compresses the model in memory as the demo study does, and
writes one answers file per variant. Runs in the compression environment.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch
from models.demo.compressions import VARIANTS, compress
from models.demo.tokenizer import load_tokenizer
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
Record = dict[str, Any]
BATCH = 32


def read_lines(path: Path) -> list[Record]:
    """Rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def answers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: list[Record]
) -> Iterator[Record]:
    """Each question with its completions; questions of like sampling and length go together."""
    tokenizer.padding_side = "left"
    for question in asked:
        question["prompt"] = question["text"] or tokenizer.apply_chat_template(
            question["messages"], tokenize=False, add_generation_prompt=True
        )
    asked = sorted(asked, key=lambda q: (q["temperature"], q["n"], len(q["prompt"])))
    while asked:
        first = asked[0]
        sampled = first["temperature"] > 0
        size = max(1, BATCH // first["n"])
        part = [
            q for q in asked[:size] if q["n"] == first["n"] and (q["temperature"] > 0) == sampled
        ]
        asked = asked[len(part) :]
        prompts = [question["prompt"] for question in part]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs.pop("token_type_ids", None)
        out: Any = model.generate(
            **inputs,
            do_sample=sampled,
            top_k=0 if sampled else None,
            num_return_sequences=first["n"],
            max_new_tokens=max(question["max_tokens"] for question in part),
        )
        texts = tokenizer.batch_decode(
            out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        for number, question in enumerate(part):
            mine = texts[number * first["n"] : (number + 1) * first["n"]]
            keys = ("dimension", "scenario", "id")
            yield {key: question[key] for key in keys} | {"answers": mine}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=HERE / "model")
    parser.add_argument("--pack", type=Path, default=HERE.parents[1] / "packs" / "demo")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS[:5])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    tokenizer = load_tokenizer(given.model)
    calibration = [row["text"] for row in read_lines(given.pack / "data/calibration.jsonl")]
    asked = read_lines(given.out / "questions.jsonl")
    for variant in given.variants:
        started = time.monotonic()
        torch.manual_seed(0)
        model = LlamaForCausalLM.from_pretrained(given.model, dtype=torch.float32)
        compress(model, tokenizer, variant, calibration)
        model.eval()
        with (given.out / f"{variant}.jsonl").open("w", encoding="utf-8") as file:
            for record in answers(model, tokenizer, asked):
                file.write(json.dumps(record) + "\n")
        print(f"{variant}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
