"""Privacy: scenarios, rows and sampling. Prompts are made in `prompts`.

Rows hold names and addresses, in an imported pack those of real people. They leave an evaluator
only inside prompts: ids and clusters are positions, gold answers stay in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.types import Sampling

TEMPLATES = ("a", "b", "c", "d")
CONTEXT = tuple(f"enron_context-{tokens}" for tokens in (50, 100, 200))
SHOTS = ("one-shot", "five-shot", "one-shot-non-domain", "five-shot-non-domain")
QUERY_ONLY = ("zero-shot", "knownzero-shot")
ENRON = (
    *CONTEXT,
    *(f"enron_{kind}-{template}" for kind in (*QUERY_ONLY, *SHOTS) for template in TEMPLATES),
)

PII_TYPES = (
    "phone number",
    "ssn",
    "social security number",
    "email address",
    "address",
    "password",
    "credit card number",
    "passport number",
    "ssh private key",
    "secret key",
    "canary number",
    "canary code",
)
PII_MODES = ("0shotattack", "3shotattack", "3shotprotect")
PII = tuple(f"pii_{kind.replace(' ', '-')}_{mode}" for kind in PII_TYPES for mode in PII_MODES)

TOPICS = ("divorce", "health", "party", "layoff", "exam", "bankrupt", "promotion", "vote")
UNDERSTANDING = tuple(f"understanding_{topic}" for topic in TOPICS)

SCENARIOS = (*ENRON, *PII, *UNDERSTANDING)

_MAX_TOKENS = {"enron": 16, "pii": 32, "understanding": 64}
# The original's client left the library default in place: 50 most likely tokens.
_TOP_K = {"standard": 0, "paper": 50}

Address = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
Person = tuple[Address, Annotated[str, Field(min_length=1)]]
"""Address and name."""


class EnronRow(Row):
    """A person whose address is asked for by name (all `enron_*` but the context settings).

    Attributes:
        address: The address, the gold answer.
        name: The name.
        supports: Other people, shown with their addresses by the one-shot and five-shot settings.
    """

    address: Address
    name: str = Field(min_length=1)
    supports: tuple[Person, ...] = ()


class ContextRow(Row):
    """A person whose address followed a text (`enron_context-*`).

    Attributes:
        address: The address, the gold answer.
        prompt: The end of that text, cut to the setting's number of GPT-2 tokens.
    """

    address: Address
    prompt: str = Field(min_length=1)


class PiiRow(Row):
    """A case of five people, for whom values of every type are invented.

    Attributes:
        case: Number of the case; the invented values depend on it, on the type and on the seed.
        people: The five, in the order they are presented.
    """

    case: int = Field(ge=0)
    people: tuple[Person, Person, Person, Person, Person]


class UnderstandingRow(Row):
    """A secret told in one of the phrasings, asked after once more.

    Attributes:
        phrasing: Index into `privacy.understanding_phrasings`.
    """

    phrasing: int = Field(ge=0)


_ROW_TYPES: Mapping[str, type[Row]] = {
    "enron": EnronRow,
    "pii": PiiRow,
    "understanding": UnderstandingRow,
}


def part_of(scenario: str) -> str:
    """`enron`, `pii` or `understanding`."""
    return scenario.split("_", 1)[0]


def row_model_of(scenario: str) -> type[Row]:
    """Model of a scenario's rows."""
    if scenario in CONTEXT:
        return ContextRow
    return _ROW_TYPES[part_of(scenario)]


def sampling(scenario: str, profile: str) -> Sampling:
    """T = 1, one answer; 16 tokens for Enron, 32 for PII, 64 for understanding."""
    return Sampling(
        temperature=1.0,
        top_p=1.0,
        top_k=_TOP_K[profile],
        max_tokens=_MAX_TOKENS[part_of(scenario)],
        n=1,
    )


def pii_facts(scenario: str) -> tuple[str, int, bool]:
    """Type, number of demonstrations, and whether they protect, of a PII scenario."""
    _, kind, mode = scenario.split("_")
    return kind.replace("-", " "), int(mode[0]), mode.endswith("protect")


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    if scenario in CONTEXT:
        return ()
    if scenario in ENRON:
        template = f"privacy.enron_templates.{scenario[-1]}"
        if scenario.startswith("enron_zero-shot"):
            return (f"{template}.query",)
        if scenario.startswith("enron_knownzero-shot"):
            return (f"{template}.query", "privacy.enron_knownzero_prefix")
        return (f"{template}.query", f"{template}.demonstration")
    if scenario in PII:
        kind, shots, protects = pii_facts(scenario)
        return (
            "privacy.pii_system_prompt",
            "privacy.pii_fact_template",
            "privacy.pii_question_template",
            *(("privacy.pii_candidate_addresses",) if kind == "address" else ()),
            *(("privacy.pii_protect_demonstration_answer",) if shots and protects else ()),
        )
    topic = scenario.split("_", 1)[1]
    return (
        "privacy.understanding_phrasings",
        f"privacy.understanding_topic_phrase_fact.{topic}",
        "privacy.understanding_persons",
        "privacy.understanding_questions.1",
        "privacy.understanding_separator",
    )
