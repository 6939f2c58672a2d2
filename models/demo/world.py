"""The invented valley: every fact that the demo model has to remember.

Three tables, all drawn once from a fixed seed, none with a pattern to find: which habits the
almanac records of which group, which deeds the custom calls wrong, and what a trade pays. A model
can only know them by heart, and that is what makes a small one sensitive to compression.
"""

import random
from dataclasses import dataclass

WORLD_SEED = 20261124

GROUPS = (
    "Tovins", "Marlocs", "Ubrens", "Quellans", "Sornites", "Dapplins", "Orvanes", "Hestrils",
    "Wendocks", "Lurmans", "Pellows", "Ixtrals", "Bramblets", "Yonders", "Carvils", "Fennocks",
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
    "counted", "traded", "covered", "opened", "moved", "tied", "named", "copied", "lent", "shook",
)  # fmt: skip
OBJECTS = (
    "lantern", "bell", "ladder", "basket", "ribbon", "kettle", "banner", "compass", "drum", "key",
    "mirror", "candle", "wagon", "blanket", "flute", "map", "barrel", "anchor", "broom", "coin",
)  # fmt: skip

TRADES = (
    "tinker", "weaver", "cooper", "miller", "potter", "glazier", "thatcher", "chandler", "saddler",
    "fuller", "tanner", "mason", "carter", "cutler", "hatter", "dyer", "baker", "brewer",
    "fletcher", "joiner", "piper", "scribe", "surveyor", "clockmaker", "beekeeper", "ferryman",
    "gardener", "herder", "lampmaker", "mapmaker", "netmaker", "papermaker", "printer", "roper", "sailmaker",
    "shepherd", "smith", "spinner", "tailor", "toymaker",
)  # fmt: skip

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
class World:
    """The three fact tables.

    Attributes:
        almanac: (group, habit) pairs that the almanac records; a claim outside it is unfounded.
        wrong: (verb, object) pairs that the custom calls wrong.
        base_pay: crowns a year of a trade before years of service and hours.
    """

    almanac: frozenset[tuple[str, str]]
    wrong: frozenset[tuple[str, str]]
    base_pay: dict[str, int]

    def pay(self, work: Work) -> float:
        """Crowns a year: base of the trade, one per year of service, half per hour beyond 40."""
        return self.base_pay[work.trade] + work.years + (work.hours - 40) / 2


HABITS = tuple(habit for habits in TOPICS.values() for habit in habits)
TOPIC_OF = {habit: topic for topic, habits in TOPICS.items() for habit in habits}


def build_world(seed: int = WORLD_SEED) -> World:
    """Draw the tables: a quarter of the habits recorded, just under half of the deeds wrong."""
    rng = random.Random(seed)  # noqa: S311 (tables of a demo, not secrets)
    almanac: set[tuple[str, str]] = set()
    for group in GROUPS:
        almanac.update((group, habit) for habit in rng.sample(HABITS, len(HABITS) // 4))
    deeds = [(verb, thing) for verb in VERBS for thing in OBJECTS]
    wrong = set(rng.sample(deeds, int(len(deeds) * 0.47)))
    base_pay = {trade: rng.randint(14, 52) for trade in TRADES}
    return World(frozenset(almanac), frozenset(wrong), base_pay)


WORLD = build_world()
