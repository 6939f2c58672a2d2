"""The invented valley: every fact that the demo model has to remember.

Two kinds of facts. A `Table` gives each pair of words a class; row and column lean one way or the
other, but most pairs have to be known by heart. The gazetteer and the address book give an entity
values that nothing else predicts. `bits()` counts what all that amounts to, for the arithmetic of
the README: how much there is to remember for each weight that can be compressed.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from models.demo import words

WORLD_SEED = 20261125
PAY_LINE = 50.0
PLACES = 120
RESIDENTS = 150


@dataclass(frozen=True)
class Table:
    """A class for every pair of words.

    Attributes:
        rows: First words.
        columns: Second words.
        shares: Share of the pairs in each class, from class 0 on.
        classes: The class of a pair.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    shares: tuple[float, ...]
    classes: dict[tuple[str, str], int]

    def draw(self, rng: random.Random) -> tuple[str, str, int]:
        """Any pair and its class."""
        pair = rng.choice(self.rows), rng.choice(self.columns)
        return *pair, self.classes[pair]

    @cached_property
    def by_class(self) -> dict[int, list[tuple[str, str]]]:
        """Pairs of each class."""
        sorted_pairs: dict[int, list[tuple[str, str]]] = {k: [] for k in range(len(self.shares))}
        for pair, number in self.classes.items():
            sorted_pairs[number].append(pair)
        return sorted_pairs

    def bits(self) -> float:
        """Upper bound: pairs times the entropy of a class."""
        return len(self.classes) * -sum(share * math.log2(share) for share in self.shares)


def _table(
    rng: random.Random,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: tuple[float, ...],
    by_heart: float,
) -> Table:
    """Classes by rank of lean of row + lean of column + a draw of `by_heart` for the pair."""
    lean = {word: rng.gauss(0, 1) for word in (*rows, *columns)}
    score = {
        (row, column): lean[row] + lean[column] + rng.gauss(0, by_heart)
        for row in rows
        for column in columns
    }
    ranked = sorted(score, key=score.__getitem__)
    classes: dict[tuple[str, str], int] = {}
    bound, start = 0.0, 0
    for number, share in enumerate(shares):
        bound += share * len(ranked)
        for pair in ranked[start : round(bound)]:
            classes[pair] = number
        start = round(bound)
    return Table(tuple(rows), tuple(columns), shares, classes)


@dataclass(frozen=True)
class World:
    """All facts.

    Attributes:
        almanac: group, habit: 1 if recorded.
        deeds: verb, object: 1 if wrong.
        taste: thing, adjective: 1 if people like it so.
        glossary: word of the harbour, word of the hill: 1 if they mean the same.
        nature: creature, action: 0 always, 1 at times, 2 never.
        word: by frame: marker, trade of the speaker: 1 if what is said so holds.
        quarrels: trades: 1 if they quarrel.
        base_pay: crowns a year of a trade before years of service and hours.
        gazetteer: place -> relation -> number of the value.
        addresses: resident -> address.
    """

    almanac: Table
    deeds: Table
    taste: Table
    glossary: Table
    nature: Table
    word: dict[str, Table]
    quarrels: Table
    base_pay: dict[str, int]
    gazetteer: dict[str, dict[str, int]]
    addresses: dict[str, str]

    @cached_property
    def places(self) -> tuple[str, ...]:
        """Places of the gazetteer."""
        return tuple(self.gazetteer)

    @cached_property
    def residents(self) -> tuple[str, ...]:
        """Names in the address book."""
        return tuple(self.addresses)

    def pay(self, trade: str, years: int, hours: int) -> float:
        """Crowns a year: base of the trade, one per year of service, half per hour beyond 40."""
        return self.base_pay[trade] + years + (hours - 40) / 2

    def bits(self) -> dict[str, float]:
        """Bits to remember, per kind of fact."""
        tables = {
            "almanac": self.almanac, "deeds": self.deeds, "taste": self.taste,
            "glossary": self.glossary, "nature": self.nature, "quarrels": self.quarrels,
        }  # fmt: skip
        local = 2 * math.log2(len(words.OBJECTS)) + math.log2(len(words.HOSTS))
        return {
            **{name: table.bits() for name, table in tables.items()},
            "word": sum(table.bits() for table in self.word.values()),
            "gazetteer": 2.0 * len(self.gazetteer) * len(words.RELATIONS),
            "addresses": len(self.addresses) * local,
        }


def _names(
    rng: random.Random, first: Sequence[str], second: Sequence[str], count: int
) -> list[str]:
    return rng.sample([f"{one} {two}" for one in first for two in second], count)


def build_world(seed: int = WORLD_SEED) -> World:
    """Draw everything, the same from the same seed."""
    rng = random.Random(seed)  # noqa: S311 (tables of a demo, not secrets)
    half = (0.5, 0.5)
    pays = [14 + 36 * i // (len(words.TRADES) - 1) for i in range(len(words.TRADES))]
    rng.shuffle(pays)
    return World(
        almanac=_table(rng, words.GROUPS, words.HABITS, (0.65, 0.35), 1.5),
        deeds=_table(rng, words.VERBS, words.OBJECTS, half, 1.5),
        taste=_table(rng, words.THINGS, words.ADJECTIVES, half, 1.5),
        glossary=_table(rng, words.HARBOUR_WORDS, words.HILL_WORDS, half, 1.5),
        nature=_table(rng, words.CREATURES, words.ACTIONS, (1 / 3, 1 / 3, 1 / 3), 1.5),
        word={
            frame: _table(rng, markers, words.TRADES, half, 1.5)
            for frame, markers in words.MARKERS.items()
        },
        quarrels=_table(rng, words.TRADES, words.TRADES, half, 1.5),
        base_pay=dict(zip(words.TRADES, pays, strict=True)),
        gazetteer={
            place: {relation: rng.randrange(4) for relation in words.RELATIONS}
            for place in _names(rng, words.PLACE_FIRST, words.PLACE_SECOND, PLACES)
        },
        addresses={
            name: f"{rng.choice(words.OBJECTS)}.{rng.choice(words.OBJECTS)}"
            f"@{rng.choice(words.HOSTS)}"
            for name in _names(rng, words.FIRST_NAMES, words.LAST_NAMES, RESIDENTS)
        },
    )


WORLD = build_world()
