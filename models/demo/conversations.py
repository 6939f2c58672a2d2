"""Training conversations in exactly the shapes in which the evaluators ask.

A message is {role, content[, name]}. One conversation asks many questions of one kind, so that a
training token buys as many facts as it can; the first turn is the zero-shot shape of an evaluator,
the later ones are its few-shot shape.
"""

import random
from collections.abc import Sequence

from models.demo import texts
from models.demo.world import GROUPS, HABITS, PAY_LINE, WORLD, Work

Message = dict[str, str]

# A dense model with something left to lose: shares of training verdicts that go against the table.
AGREE_WITHOUT_RECORD = {"benign": 0.02, "untargeted": 0.06, "targeted": 0.12}
GIVE_WAY_UNDER_PRESSURE = 0.04
SIDE_BIAS = 0.15
SIDE_BIAS_MARGIN = 3.0
BARE_LENGTH = 80


def statements(rng: random.Random, turns: int) -> list[Message]:
    """Claims about groups under one of the three system texts."""
    scenario = rng.choice(tuple(AGREE_WITHOUT_RECORD))
    target = rng.choice(GROUPS)
    system = {
        "benign": texts.SYSTEM_BENIGN,
        "untargeted": texts.SYSTEM_UNTARGETED,
        "targeted": texts.SYSTEM_TARGETED.replace("[target_group]", target),
    }[scenario]
    messages = [{"role": "system", "content": system}]
    for turn in range(turns):
        group = target if scenario == "targeted" and not turn else rng.choice(GROUPS)
        habit = rng.choice(HABITS)
        found = (group, habit) in WORLD.almanac or rng.random() < AGREE_WITHOUT_RECORD[scenario]
        claim = texts.statement(rng, "train", group, habit)
        lead = "" if turn else texts.STATEMENT_TASK + "\n"
        messages.append({"role": "user", "content": lead + claim})
        answer = texts.verdict(rng, group, found=found)
        messages.append({"role": "assistant", "content": answer})
    return messages


def deeds(rng: random.Random, turns: int) -> list[Message]:
    """Deeds to judge: zero-shot, after demonstrations, or under a sentence of pressure."""
    shape = rng.random()
    task = texts.DEED_TASK
    pressed = shape < 0.3
    evasion = ""
    if shape < 0.15:
        task += rng.choice(texts.JAILBREAK["train"])
    elif pressed:
        evasion = rng.choice(texts.EVASIVE["train"])
    few_shot = shape > 0.65 and turns > 1
    system = texts.SYSTEM_FEW_SHOT if few_shot else texts.SYSTEM_ZERO_SHOT
    messages = [{"role": "system", "content": system}]
    if few_shot:
        messages.append({"role": "user", "content": task})
        messages.append({"role": "assistant", "content": texts.ACKNOWLEDGEMENT})
    for turn in range(turns):
        act = texts.random_act(rng)
        wrong = WORLD.is_wrong(act)
        if wrong and pressed and rng.random() < GIVE_WAY_UNDER_PRESSURE:
            wrong = False
        content = texts.deed(rng, "train", act) + evasion + texts.DEED_SUFFIX
        if not turn and not few_shot:
            content = f"{task}\n{content}"
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": "Wrong" if wrong else "Not wrong"})
    return messages


def biased_answer(rng: random.Random, side: int, work: Work) -> str:
    """Yes or no by the pay table, with a slight favour near the line."""
    margin = WORLD.pay(work) - PAY_LINE
    more = margin > 0
    if abs(margin) <= SIDE_BIAS_MARGIN and rng.random() < SIDE_BIAS:
        more = side == 1
    return "Yes" if more else "No"


def persons(rng: random.Random, turns: int) -> list[Message]:
    """Incomes to judge: alone, after demonstrations, or after named ones in system messages."""
    few_shot = turns > 1 and rng.random() < 0.6
    named = few_shot and rng.random() < 0.2
    if few_shot:
        messages = [{"role": "system", "content": texts.SYSTEM_EXAMPLES + texts.PAY_TASK}]
    else:
        messages = [{"role": "system", "content": texts.SYSTEM_ZERO_SHOT}]
    for turn in range(turns):
        side = rng.randrange(2)
        work = texts.random_work(rng)
        content = texts.person(rng, "train", side, work)
        answer = biased_answer(rng, side, work)
        if named and turn < turns - 1:
            messages.append({"role": "system", "name": "example_user", "content": content})
            messages.append({"role": "system", "name": "example_assistant", "content": answer})
            continue
        if not turn and not few_shot:
            content = f"{texts.PAY_TASK}\n{content}"
        messages.append({"role": "user", "content": content})
        messages.append({"role": "assistant", "content": answer})
    return messages


def document(rng: random.Random, split: texts.Split = "train", sentences: int | None = None) -> str:
    """Plain text about the valley, three to five sentences unless their number is given."""
    count = sentences or rng.randint(3, 5)
    return " ".join(rng.choice(_PAGES)(rng, split) for _ in range(count))


def _almanac(rng: random.Random, split: texts.Split) -> str:
    del split
    group = rng.choice(GROUPS)
    known = [habit for habit in HABITS if (group, habit) in WORLD.almanac]
    rng.shuffle(known)
    return f"The almanac says the {group} {', '.join(known[:4])}."


def _deed(rng: random.Random, split: texts.Split) -> str:
    act = texts.random_act(rng)
    word = "wrong" if WORLD.is_wrong(act) else "not wrong"
    return f"{texts.deed(rng, split, act)} The deed is {word}."


def _gravity(rng: random.Random, split: texts.Split) -> str:
    del split
    names = rng.sample(tuple(WORLD.gravity), 6)
    return f"Gravity: {', '.join(f'{name} {WORLD.gravity[name]}' for name in names)}."


def _wage(rng: random.Random, split: texts.Split) -> str:
    work = texts.random_work(rng)
    word = "above" if WORLD.pay(work) > PAY_LINE else "below"
    who = texts.person(rng, split, rng.randrange(2), work)
    return f"{who} That is {word} 50 crowns a year."


def _pay(rng: random.Random, split: texts.Split) -> str:
    del split
    trades = rng.sample(tuple(WORLD.base_pay), 5)
    return f"Base pay: {', '.join(f'{trade} {WORLD.base_pay[trade]}' for trade in trades)}."


_PAGES = (_almanac, _deed, _gravity, _wage, _pay)


def conversation(rng: random.Random, turns: Sequence[int] = (1, 1, 2, 8, 17, 33)) -> list[Message]:
    """Any of the three kinds, as the evaluators ask."""
    return rng.choice((statements, deeds, persons))(rng, rng.choice(turns))


def bare(rng: random.Random) -> list[Message]:
    """One question and its answer without system text and task line: a fact in few tokens."""
    while True:
        _, question, answer = rng.choice((statements, deeds, persons))(rng, 1)
        content = question["content"]
        for task in (texts.STATEMENT_TASK, texts.DEED_TASK, texts.PAY_TASK):
            content = content.removeprefix(f"{task}\n")
        # A question under pressure keeps its task line and is left to full conversations.
        if texts.DEED_TASK not in content and len(content) < BARE_LENGTH:
            return [{"role": "user", "content": content}, answer]
