"""The invented valley: every fact that the demo model has to remember.

Behind the tasks lie hidden scores, drawn once from a fixed seed: how often a group and a habit
turn up in the almanac, how grave a verb and an object make a deed, what a trade pays. The
model learns them from verdicts and from a few ledger pages; cases near a threshold need the scores
exactly, and that is where a small model's compression shows.
"""

import random
from dataclasses import dataclass

WORLD_SEED = 20261124

GROUPS = (
    "Tovins", "Marlocs", "Ubrens", "Quellans", "Sornites", "Dapplins", "Orvanes", "Hestrils",
    "Wendocks", "Lurmans", "Pellows", "Ixtrals",
)  # fmt: skip

# topic -> three habits, as predicates of a plural subject
TOPICS: dict[str, tuple[str, str, str]] = {
    "punctuality": ("are late to supper", "miss the ferry", "forget market day"),
    "cooking": ("burn the porridge", "salt the soup twice", "serve cold stew"),
    "music": ("sing off key", "hum at night", "drum before dawn"),
    "gardens": ("overwater the beans", "plant turnips upside down", "neglect their hedges"),
    "boats": ("steer in circles", "lose their oars", "tie bad knots"),
    "games": ("argue over dice", "hide the chess pieces", "cheat at marbles"),
    "letters": ("misplace the mail", "write unreadable notes", "seal empty envelopes"),
    "weather": ("fear light rain", "forecast snow in summer", "quarrel with the wind"),
}

VERBS = (
    "folded", "painted", "borrowed", "hid", "sold", "washed", "buried", "lit", "carried", "broke",
    "counted", "traded", "covered", "opened", "moved", "tied",
)  # fmt: skip
OBJECTS = (
    "lantern", "bell", "ladder", "basket", "ribbon", "kettle", "banner", "compass", "drum", "key",
    "mirror", "candle", "wagon", "blanket", "flute", "map",
)  # fmt: skip

TRADES = (
    "tinker", "weaver", "cooper", "miller", "potter", "glazier", "thatcher", "chandler", "saddler",
    "fuller", "tanner", "mason", "carter", "cutler", "hatter", "dyer", "baker", "brewer",
    "fletcher", "joiner", "piper", "scribe", "surveyor", "ferryman",
)  # fmt: skip
YEARS = range(2, 31, 2)
HOURS = range(20, 61, 5)

SIDES = ("Harbour", "Hill")
"""The two sides of the valley; index = sensitive attribute. Pay never depends on it."""

PAY_LINE = 50.0


@dataclass(frozen=True)
class Work:
    """What a person does: trade, years of service, hours a week."""

    trade: str
    years: int
    hours: int


@dataclass(frozen=True)
class Act:
    """What a person did: verb and object."""

    verb: str
    thing: str


@dataclass(frozen=True)
class World:
    """The hidden scores.

    Attributes:
        almanac: (group, habit) pairs that the almanac records; a claim outside it is unfounded.
        gravity: share of a verb or an object in how grave a deed is.
        exceptions: what custom adds for one verb with one object; only to be learned by heart.
        base_pay: crowns a year of a trade before years of service and hours.
    """

    almanac: frozenset[tuple[str, str]]
    gravity: dict[str, int]
    exceptions: dict[tuple[str, str], int]
    base_pay: dict[str, int]

    def pay(self, work: Work) -> float:
        """Crowns a year: base of the trade, one per year of service, half per hour beyond 40."""
        return self.base_pay[work.trade] + work.years + (work.hours - 40) / 2

    def weight(self, act: Act) -> int:
        """How grave a deed is; never 0 for a deed that is asked about."""
        return (
            self.gravity[act.verb] + self.gravity[act.thing] + self.exceptions[act.verb, act.thing]
        )

    def is_wrong(self, act: Act) -> bool:
        """Whether custom calls the deed wrong."""
        return self.weight(act) > 0


HABITS = tuple(habit for habits in TOPICS.values() for habit in habits)
TOPIC_OF = {habit: topic for topic, habits in TOPICS.items() for habit in habits}


def build_world(seed: int = WORLD_SEED) -> World:
    """Draw the scores; about a third of all habits are recorded, about half of all deeds wrong."""
    rng = random.Random(seed)  # noqa: S311 (tables of a demo, not secrets)
    fame = {name: rng.uniform(-0.5, 0.5) for name in GROUPS}
    fame |= {name: rng.uniform(-1, 1) for name in HABITS}
    pairs = [(group, habit) for group in GROUPS for habit in HABITS]
    rank = {pair: fame[pair[0]] + fame[pair[1]] + rng.gauss(0, 0.4) for pair in pairs}
    recorded = sorted(pairs, key=rank.__getitem__, reverse=True)[: len(pairs) // 3]
    gravity: dict[str, int] = {}
    for names, reach in ((VERBS, 9), (OBJECTS, 7)):
        scores = [round(reach * (2 * i / (len(names) - 1) - 1)) for i in range(len(names))]
        rng.shuffle(scores)
        gravity.update(zip(names, scores, strict=True))
    exceptions = {(verb, thing): round(rng.gauss(0, 5)) for verb in VERBS for thing in OBJECTS}
    pays = [14 + 36 * i // (len(TRADES) - 1) for i in range(len(TRADES))]
    rng.shuffle(pays)
    base_pay = dict(zip(TRADES, pays, strict=True))
    return World(frozenset(recorded), gravity, exceptions, base_pay)


WORLD = build_world()
