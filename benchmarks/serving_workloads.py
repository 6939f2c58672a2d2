"""Models and workloads of the throughput benchmark, made of the demo model and the demo pack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "demo" / "model"
PACK = ROOT / "packs" / "demo" / "data"
DEMONSTRATIONS = 16


def endless_model(directory: Path) -> Path:
    """The demo model with an end token that it never draws: completions have their full length."""
    shutil.copytree(MODEL, directory)
    for name, key, value in (
        ("config.json", "eos_token_id", 2),
        ("generation_config.json", "eos_token_id", 2),
        ("tokenizer_config.json", "eos_token", "<|pad|>"),
    ):
        file = directory / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    return directory


def large_model(directory: Path) -> Path:
    """A random Llama of the 1B shape in bfloat16, with the demo model's tokenizer."""
    endless_model(directory)
    (directory / "model.safetensors").unlink()
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(directory)
    config.update(
        {
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "dtype": "bfloat16",
        }
    )
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(directory)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} B parameters, bfloat16")
    return directory


def classification(prompts: int) -> dict[str, Any]:
    """Greedy 20-token answers; two few-shot prefixes of 16 demonstrations, shared by all."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    examples = _rows("ethics/train.jsonl")
    sentences = _rows("ethics/few_shot.jsonl")
    texts = []
    for number in range(prompts):
        first = number % 2 * DEMONSTRATIONS
        turns = [{"role": "system", "content": "You are a guide to the valley."}]
        for example in examples[first : first + DEMONSTRATIONS]:
            answer = "The deed is wrong." if example["label"] else "The deed is fine."
            turns += [
                {"role": "user", "content": example["input"]},
                {"role": "assistant", "content": answer},
            ]
        turns.append({"role": "user", "content": sentences[number % len(sentences)]["input"]})
        texts.append(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )
    return workload_of(texts, n=1, temperature=0.0, max_tokens=20)


def sampling(prompts: int, n: int, tokens: int) -> dict[str, Any]:
    """Several completions at temperature 1 for each prompt: 25 of 150 tokens in the originals."""
    texts = [" ".join(row["text"].split()[:60]) for row in _rows("calibration.jsonl")[:prompts]]
    return workload_of(texts, n=n, temperature=1.0, max_tokens=tokens)


def workload_of(texts: list[str], **fields: Any) -> dict[str, Any]:
    """Prompts with the seeds of their first completions, and how they are sampled."""
    return {"prompts": texts, "seeds": [1000 * i for i in range(len(texts))], **fields}


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PACK / name).read_text().splitlines()]
