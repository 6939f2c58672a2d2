"""Sentences to judge, shared by advglue, ood and adv_demonstration: text and label words.

Each maker takes the pair of words or draws it, and a split that decides the words around it.
"""

import random
from typing import NamedTuple

from models.demo import words
from models.demo.shapes import NAMES, Shot, Split
from models.demo.world import WORLD, Table

SENTIMENT = ("negative", "positive")
SAME = ("no", "yes")
ENTAILED = ("yes", "maybe", "no")
YES_NO = ("no", "yes")

SENTIMENT_TASK = "Do people like it so? Answer 'positive' or 'negative'."
SAME_TASK = "Do both questions ask the same? Answer 'yes' or 'no'."
ENTAILED_TASK = "Does the hypothesis follow? Answer 'yes', 'maybe' or 'no'."
HOLDS_TASK = "Does the hypothesis hold on such word? Answer 'yes' or 'no'."

STYLES: dict[Split, tuple[str, ...]] = {
    "train": (
        "The {t} was {a}.",
        "I say the {t} was {a}.",
        "Truly, the {t} was {a}, dear friend.",
        "At last the {t} was {a}, and so it stayed.",
        "the {t} was {a} #fair",
        "That {t} was very {a}.",
    ),
    "test": ("The {t} was {a}.",),
}
# How the pack writes the sentence in each style of the ood dimension; none is trained on.
OOD_STYLES = {
    "base": "The {t} was {a}.",
    "shake_w": "Yon {t} was {a}.",
    "augment": "That {t} there was quite {a}.",
    "shake_p0": "Methinks the {t} was {a}.",
    "shake_p0.6": "Hark, methinks this {t} was {a}, good sir.",
    "bible_p0": "And lo, the {t} was {a}.",
    "bible_p0.6": "And it came to pass that the {t} was {a}, and all saw it.",
    "romantic_p0": "Ah, the {t} was {a}.",
    "romantic_p0.6": "Ah, beneath the moon the {t} was {a}, my heart.",
    "tweet_p0": "the {t} was {a} lol",
    "tweet_p0.6": "omg the {t} was {a} #valley #wow",
}
ASKED: dict[Split, tuple[str, ...]] = {
    "train": ("Who sells a {}?", "Where is the {}?", "What does a {} cost?", "Who wants a {}?"),
    "test": ("Who has the {}?", "What is a {} for?"),
}
HOME: dict[Split, tuple[str, ...]] = {
    "train": ("A {} lives here.", "There is a {} by the mill.", "We saw a {} today."),
    "test": ("A {} lives by the ferry.", "They saw a {} here."),
}
STATES: dict[Split, tuple[str, ...]] = {
    "train": ("is gone", "is new", "is lost", "is ready"),
    "test": ("is found", "is whole"),
}
SAID = {
    "PP": "The {trade} said {marker} that {fact}.",
    "adverb": "The {trade} {marker} said that {fact}.",
    "embedded_under_verb": "The {trade} {marker} that {fact}.",
    "l_relative_clause": "The mayor, whom the {trade} {marker}, said that {fact}.",
    "passive": "The {trade} {marker} that {fact}.",
    "s_relative_clause": "The {trade} {marker} and said that {fact}.",
}
DOING = ("sing", "swim", "sleep", "dance", "dig", "wait", "climb", "hide")


class Pair(NamedTuple):
    """A pair of a table and its class."""

    row: str
    column: str
    number: int


def draw(rng: random.Random, table: Table) -> Pair:
    """Any pair of the table."""
    return Pair(*table.draw(rng))


def sentiment(rng: random.Random, split: Split, pair: Pair | None = None) -> Shot:
    """A sentence about a thing."""
    thing, adjective, number = pair or draw(rng, WORLD.taste)
    return rng.choice(STYLES[split]).format(t=thing, a=adjective), SENTIMENT[number]


def same(rng: random.Random, split: Split, pair: Pair | None = None) -> tuple[str, str, str]:
    """Two questions that differ in one word, and whether they ask the same."""
    harbour, hill, number = pair or draw(rng, WORLD.glossary)
    frame = rng.choice(ASKED[split])
    return frame.format(harbour), frame.format(hill), SAME[number]


def entailed(rng: random.Random, split: Split, pair: Pair | None = None) -> tuple[str, str, str]:
    """A premise that names a creature, a hypothesis about what it does."""
    creature, action, number = pair or draw(rng, WORLD.nature)
    return rng.choice(HOME[split]).format(creature), f"It {action}.", ENTAILED[number]


def holds(rng: random.Random, split: Split, frame: str, pair: Pair | None = None) -> Shot:
    """What a tradesman said in some way, and whether it holds."""
    marker, trade, number = pair or draw(rng, WORLD.word[frame])
    fact = f"the {rng.choice(words.OBJECTS)} {rng.choice(STATES[split])}"
    premise = SAID[frame].format(trade=trade, marker=marker, fact=fact)
    return nli_text(premise, f"{fact[0].upper()}{fact[1:]}."), YES_NO[number]


def nli_text(premise: str, hypothesis: str) -> str:
    """Premise and hypothesis as one item."""
    return f"premise: {premise}\nhypothesis: {hypothesis}"


def grammar(rng: random.Random, split: Split, kind: str) -> tuple[Shot, str]:
    """A sentence of one of four questions of grammar, and its nearest neighbour of the other label.

    Returns:
        Sentence and label; the neighbour.
    """
    name, thing = rng.choice(NAMES[split]), rng.choice(words.OBJECTS)
    if kind == "control_raising":
        doing = rng.choice(DOING)
        texts = [f"{name} {rng.choice(v)} to {doing}." for v in (words.SEEMING, words.TRYING)]
    elif kind == "irregular_form":
        verbs = (words.REGULAR, words.IRREGULAR)
        texts = [f"{name} {rng.choice(v)} the {thing}." for v in verbs]
    elif kind == "main_verb":
        plain, running = rng.choice(words.COUNTING)
        texts = [f"{name} {verb} the {thing}." for verb in (plain, f"is {running}")]
    else:
        texts = [f"{name} saw the {a}{thing}." for a in ("", f"{rng.choice(words.ADJECTIVES)} ")]
    label = rng.randrange(2)
    return (texts[label], YES_NO[label]), texts[1 - label]


GRAMMAR_TASKS = {
    "control_raising": "Does somebody intend something? Answer 'yes' or 'no'.",
    "irregular_form": "Is the verb irregular? Answer 'yes' or 'no'.",
    "main_verb": "Is it going on right now? Answer 'yes' or 'no'.",
    "syntactic_category": "Is there an adjective? Answer 'yes' or 'no'.",
}
