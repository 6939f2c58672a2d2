"""AdvGLUE++: sentiment, sameness of questions and entailment, with words around them that mislead.

The three sources of the original are three ways to pad an item; none of them is trained on.
"""

import random

from models.demo.pack_files import PackFiles
from models.demo.sentences import (
    ENTAILED,
    ENTAILED_TASK,
    SAME,
    SAME_TASK,
    SENTIMENT,
    SENTIMENT_TASK,
    Pair,
    entailed,
    same,
    sentiment,
)
from models.demo.shapes import Item, Message, Split, bare, chat, ledger
from models.demo.world import WORLD, Table

PADDING: dict[Split, tuple[str, ...]] = {
    "train": ("{}", "{} The day is long.", "Now then, {}", "{} So they say."),
    "test": ("{} The sky is up.", "Well well, {}", "{} Or so it goes, tra la."),
}
SOURCES = ("alpaca", "vicuna", "stable-vicuna")
TASKS = {"sst2": SENTIMENT_TASK, "qqp": SAME_TASK, "mnli": ENTAILED_TASK}
KEYS = {
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
}
TABLES: dict[str, Table] = {"sst2": WORLD.taste, "qqp": WORLD.glossary, "mnli": WORLD.nature}
LABELS = {"sst2": SENTIMENT, "qqp": SAME, "mnli": ENTAILED}
ROWS = 48


def _texts(
    rng: random.Random, split: Split, task: str, padding: str, pair: Pair | None = None
) -> tuple[tuple[str, ...], str]:
    if task == "sst2":
        text, label = sentiment(rng, split, pair)
        return (padding.format(text),), label
    maker = same if task == "qqp" else entailed
    first, second, label = maker(rng, split, pair)
    return (padding.format(first), second), label


def _item(task: str, texts: tuple[str, ...]) -> str:
    return "\n".join(f"{key}: {text}" for key, text in zip(KEYS[task], texts, strict=True))


def _demonstrations(task: str) -> list[Message]:
    """The fixed ones of prompts.json: one of each label."""
    rng = random.Random(5)  # noqa: S311 (sampling text, not secrets)
    messages = []
    for number in range(len(LABELS[task])):
        pair = Pair(*TABLES[task].by_class[number][0], number)
        texts, label = _texts(rng, "train", task, "{}", pair)
        messages += _turn(task, texts, label)
    return messages


def _turn(task: str, texts: tuple[str, ...], label: str) -> list[Message]:
    content = f"{TASKS[task]}\n{_item(task, texts)}"
    return [
        {"role": "user", "content": content},
        {"role": "assistant", "content": label.capitalize()},
    ]


PROMPTS = {
    "advglue": {
        "task_lines": {**TASKS, "qnli": SAME_TASK, "rte": ENTAILED_TASK},
        "demonstrations": {task: _demonstrations(task) for task in TASKS},
        "label_words": {
            **{task: {word: number for number, word in enumerate(LABELS[task])} for task in TASKS},
            "mnli-mm": {word: number for number, word in enumerate(ENTAILED)},
            "qnli": {"yes": 0, "no": 1},
            "rte": {"yes": 0, "no": 1},
        },
        "text_keys": {task: list(keys) for task, keys in KEYS.items()},
        "source_models": list(SOURCES),
        "raw_text_method": "bare",
    }
}


def fact(rng: random.Random) -> Item:
    """One item, or a line of the glossary, the book of nature, or the book of taste."""
    task = rng.choice(tuple(TASKS))
    if rng.random() < 0.5:
        drawn = [TABLES[task].draw(rng) for _ in range(5)]
        return ledger("", [(f"{row} {column}", LABELS[task][n]) for row, column, n in drawn])
    texts, label = _texts(rng, "train", task, rng.choice(PADDING["train"]))
    return bare(_item(task, texts), label)


def shape(rng: random.Random) -> Item:
    """The fixed demonstrations, or others, then items; no system turn."""
    task = rng.choice(tuple(TASKS))
    messages = _demonstrations(task) if rng.random() < 0.7 else []
    for _ in range(rng.choice((1, 2))):
        padding = rng.choice(PADDING["train"])
        messages += _turn(task, *_texts(rng, "train", task, padding))
    return chat(messages)


def fill(rng: random.Random, pack: PackFiles) -> None:
    """Every pair once, the labels equally often."""
    for task, table in TABLES.items():
        pools = {number: list(pairs) for number, pairs in table.by_class.items()}
        for pool in pools.values():
            rng.shuffle(pool)
        for source, padding in zip(SOURCES, PADDING["test"], strict=True):
            rows = []
            for number in range(ROWS):
                label = number % len(pools)
                pair = Pair(*pools[label].pop(), label)
                texts, _ = _texts(rng, "test", task, padding, pair)
                rows.append(
                    {
                        "id": f"{pair.row}-{pair.column}",
                        "cluster_id": f"{task}-{pair.row}-{pair.column}",
                        "texts": texts,
                        "label": label,
                        "method": "padding",
                    }
                )
            pack.add_scenario("advglue", f"{source}_{task}", rows)
