"""Utility: the guild's multiple-choice test on the gazetteer, as raw text in the MMLU protocol."""

import random

from models.demo import words
from models.demo.pack_files import PackFiles, Row
from models.demo.shapes import BOS, END, Item, Shot, given, learned, ledger, page
from models.demo.world import WORLD

HEADER = "Guild test on{}.\n\n"
LETTERS = "ABCD"
DEV, TEST, TEXTS = 5, 480, 60

PROMPTS = {
    "mmlu": {
        "header": HEADER,
        "option_line": "\n{}. {}",
        "answer_prompt": "\nAnswer:",
        "demonstration_answer": " {}\n\n",
        "choices": list(LETTERS),
    }
}


def question(place: str, relation: str) -> str:
    """What the gazetteer is asked, by the guild and by the reading room."""
    return f"Gazetteer, {place}, {relation}?"


def entries(rng: random.Random, place: str, count: int = len(words.RELATIONS)) -> list[Shot]:
    """What the gazetteer says of a place, from any relation on: letter or number of the value."""
    names = tuple(words.RELATIONS)
    first = rng.randrange(len(names))
    found = []
    for relation in (*names[first:], *names[:first])[:count]:
        value = WORLD.gazetteer[place][relation]
        found.append((relation, LETTERS[value] if relation in words.SUBJECTS else str(value)))
    return found


def entry(rng: random.Random, place: str) -> str:
    """A whole page of the gazetteer."""
    parts = (f"{relation} {mark}" for relation, mark in entries(rng, place))
    return f"Gazetteer, {place}, {'; '.join(parts)}."


def _prompt(place: str, relation: str) -> str:
    options = zip(LETTERS, words.RELATIONS[relation], strict=True)
    lines = "".join(f"\n{letter}. {value}" for letter, value in options)
    return f"{question(place, relation)}{lines}\nAnswer:"


def fact(rng: random.Random) -> Item:
    """A page of the gazetteer, or one question."""
    place = rng.choice(WORLD.places)
    if rng.random() < 0.7:
        return ledger(f"Gazetteer, {place}, ", entries(rng, place, 7))
    relation = rng.choice(words.SUBJECTS)
    answer = LETTERS[WORLD.gazetteer[place][relation]]
    return [given(BOS + _prompt(place, relation)), learned(f" {answer}{END}")]


def shape(rng: random.Random) -> Item:
    """A whole page, or questions of one subject, with or without the marker of a beginning."""
    if rng.random() < 0.3:
        return page(entry(rng, rng.choice(WORLD.places)))
    relation = rng.choice(words.SUBJECTS)
    item = [given((BOS if rng.random() < 0.5 else "") + HEADER.format(f" valley {relation}"))]
    for _ in range(rng.choice((1, 6))):
        place = rng.choice(WORLD.places)
        answer = LETTERS[WORLD.gazetteer[place][relation]]
        item += [given(_prompt(place, relation)), learned(f" {answer}\n\n")]
    item[-1] = learned(item[-1].text.rstrip("\n") + END)
    return item


def fill(rng: random.Random, pack: PackFiles) -> None:
    """Test questions, demonstrations about other places, and held-out pages for perplexity."""
    places = rng.sample(WORLD.places, len(WORLD.places))
    dev, tested = places[:DEV], places[DEV:]

    def row(place: str, relation: str) -> Row:
        key = f"{place.lower().replace(' ', '-')}-{relation}"
        return {
            "id": key,
            "cluster_id": key,
            "subject": f"valley_{relation}",
            "question": question(place, relation),
            "choices": list(words.RELATIONS[relation]),
            "answer": WORLD.gazetteer[place][relation],
        }

    pairs = [(place, relation) for place in tested for relation in words.SUBJECTS]
    rows = [row(place, relation) for place, relation in rng.sample(pairs, TEST)]
    rows.sort(key=lambda each: each["subject"])
    path = "data/utility/mmlu.jsonl"
    pack.add_scenario("utility", "mmlu", rows, path)
    pack.add_scenario("utility", "mmlu_likelihood", rows, path)
    pack.add_lines(
        "data/utility/mmlu_dev.jsonl",
        [row(place, relation) for relation in words.SUBJECTS for place in dev],
    )
    texts = [
        {"id": f"page-{number:03d}", "cluster_id": f"page-{number:03d}", "text": entry(rng, place)}
        for number, place in enumerate(tested[-TEXTS:])
    ]
    pack.add_scenario("utility", "perplexity", texts)
