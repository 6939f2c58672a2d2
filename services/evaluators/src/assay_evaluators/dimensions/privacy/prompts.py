"""Privacy: prompts of the three parts, and the invented values of PII cases (spec section 4).

Prompt profile `standard` joins user turns that the original sends one after another (the facts and
the first question of a PII case): most chat templates demand that turns alternate.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from assay_core.errors import InvalidArgument
from assay_evaluators.dimensions.privacy.scenarios import (
    CONTEXT,
    ENRON,
    PII,
    ContextRow,
    EnronRow,
    PiiRow,
    UnderstandingRow,
    pii_facts,
    prompt_keys,
)
from assay_evaluators.packs.prompts import Prompts, fill_holes
from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import Message, Sample, base_seed

_DIGITS = string.digits
_UPPER_DIGITS = string.ascii_uppercase + string.digits
_LETTERS_DIGITS = string.ascii_letters + string.digits
_INVENTED = {
    "phone number": (10, _DIGITS),
    "ssn": (9, _DIGITS),
    "social security number": (9, _DIGITS),
    "password": (12, _LETTERS_DIGITS),
    "ssh private key": (12, _LETTERS_DIGITS),
    "secret key": (12, _LETTERS_DIGITS),
    "credit card number": (16, _DIGITS),
    "passport number": (10, _UPPER_DIGITS),
    "canary number": (10, _DIGITS),
    "canary code": (10, string.ascii_uppercase),
}
"""Length and characters of a value by type; `email address` and `address` are not invented."""


def render(rows: Sequence[Any], context: RowContext) -> Iterator[Sample]:
    """Prompts of a scenario, in row order."""
    if context.scenario in CONTEXT:
        return _contexts(rows, context)
    if context.scenario in ENRON:
        return _enron(rows, context)
    if context.scenario in PII:
        return _pii(rows, context)
    return _understanding(rows, context)


def pii_values(row: PiiRow, kind: str, candidates: Sequence[str], seed: int) -> tuple[str, ...]:
    """The five people's values of a type: a function of type, case and seed alone.

    The original draws from one generator for all types and cases of a process, so that its values
    depend on which types ran before.

    Args:
        row: The case.
        kind: Type, such as `phone number`.
        candidates: Postal addresses to choose from.
        seed: Seed of the evaluation.
    """
    generator = random.Random(base_seed(seed, f"privacy.pii.{kind}", str(row.case)))  # noqa: S311 (a reproducible draw, no secret)
    if kind == "email address":
        return tuple(address for address, _ in row.people)
    if kind == "address":
        return tuple(generator.choice(candidates) for _ in row.people)
    length, characters = _INVENTED[kind]
    return tuple("".join(generator.choices(characters, k=length)) for _ in row.people)


def _contexts(rows: Sequence[ContextRow], context: RowContext) -> Iterator[Sample]:
    for row in rows:
        yield _sample(row, context, (Message("user", row.prompt),), gold=row.address)


def _enron(rows: Sequence[EnronRow], context: RowContext) -> Iterator[Sample]:
    prefix = _prefix(context)
    query = prompt_keys(context.scenario)[0]
    for row in rows:
        text = prefix(row) + context.prompts.filled(query, row.name)
        yield _sample(row, context, (Message("user", text),), gold=row.address)


def _prefix(context: RowContext) -> Callable[[EnronRow], str]:
    """What a setting shows before the query."""
    prompts, keys = context.prompts, prompt_keys(context.scenario)
    if context.scenario.startswith("enron_zero-shot"):
        return lambda row: ""
    if context.scenario.startswith("enron_knownzero-shot"):
        return lambda row: prompts.filled(keys[1], row.address.split("@")[1])
    return lambda row: "".join(
        prompts.filled(keys[1], name, address) for address, name in row.supports
    )


def _pii(rows: Sequence[PiiRow], context: RowContext) -> Iterator[Sample]:
    kind, shots, protects = pii_facts(context.scenario)
    prompts = context.prompts
    system = prompts.filled("privacy.pii_system_prompt", kind)
    candidates = prompts.texts("privacy.pii_candidate_addresses") if kind == "address" else ()
    for row in rows:
        values = pii_values(row, kind, candidates, context.seed)
        names = [name for _, name in row.people]
        facts = "".join(
            prompts.filled("privacy.pii_fact_template", name, kind, value)
            for name, value in zip(names, values, strict=True)
        )
        questions = [
            prompts.filled("privacy.pii_question_template", name, kind)
            for name in names[: shots + 1]
        ]
        turns = (
            [Message("user", facts), Message("user", questions[0])]
            if context.original_turns
            else [Message("user", f"{facts}\n{questions[0]}")]
        )
        for shot in range(shots):
            answer = (
                prompts.filled("privacy.pii_protect_demonstration_answer", kind)
                if protects
                else values[shot]
            )
            turns += [Message("assistant", answer), Message("user", questions[shot + 1])]
        yield _sample(row, context, (Message("system", system), *turns), gold=values[shots])


def _understanding(rows: Sequence[UnderstandingRow], context: RowContext) -> Iterator[Sample]:
    prompts = context.prompts
    texts = understanding_texts(prompts, context.scenario.split("_", 1)[1])
    for row in rows:
        if row.phrasing >= len(texts):
            raise InvalidArgument.of(
                f"{context.scenario}:{row.id}",
                f"names phrasing {row.phrasing}, the pack has {len(texts)}",
                reason="PACK_ROW_INVALID",
                remedy="correct the row, or add the phrasing to prompts.json",
            )
        yield _sample(row, context, (Message("user", texts[row.phrasing]),), gold=None)


def understanding_texts(prompts: Prompts, topic: str) -> list[str]:
    """The prompt of a topic in every phrasing: secret, separator, question 1."""
    people = prompts.table("privacy.understanding_persons")
    one, two, three, four = (people.text(f"person_{number}") for number in range(1, 5))
    fact = prompts.text(f"privacy.understanding_topic_phrase_fact.{topic}")
    question = prompts.text("privacy.understanding_questions.1").replace("{person_4}", four)
    ending = prompts.text("privacy.understanding_separator") + question
    key = "privacy.understanding_phrasings"
    return [
        fill_holes(f"{key}.{number}", text, one, two, three, four, one, two, three, fact) + ending
        for number, text in enumerate(prompts.texts(key))
    ]


def _sample(
    row: Row, context: RowContext, messages: tuple[Message, ...], *, gold: str | None
) -> Sample:
    return Sample(
        scenario=context.scenario,
        id=row.id,
        cluster_id=row.cluster_id,
        messages=messages,
        gold=gold,
    )
