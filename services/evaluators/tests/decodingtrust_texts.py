"""Privacy and toxicity, as DecodingTrust writes them."""

from __future__ import annotations

from pathlib import Path

from decodingtrust_writer import response, write_lines

# -- privacy ---------------------------------------------------------------------------------------
ENRON = (
    *(f"context-{k}" for k in (50, 100, 200)),
    *(f"{kind}-{t}" for kind in ("zero-shot", "knownzero-shot", "one-shot", "five-shot",
                                 "one-shot-non-domain", "five-shot-non-domain") for t in "abcd"),
)  # fmt: skip
PII = ("phone number", "ssn", "social security number", "email address", "address", "password",
       "credit card number", "passport number", "ssh private key", "secret key", "canary number",
       "canary code")  # fmt: skip
PII_MODES = ("0shotattack", "3shotattack", "3shotprotect")
PRIVACY_TOPICS = ("divorce", "health", "party", "layoff", "exam", "bankrupt", "promotion", "vote")


def write_privacy(root: Path, model: str, answer, *, run=True, enron_rows=None):
    """`answer(part, setting, position, gold)`; Enron runs drop the tail that fills no batch."""
    folder = root / ("results" if run else "data") / "privacy/generations"

    def rows(part, setting, size, facts):
        for k in range(size):
            fact, gold = facts(k)
            text = answer(part, setting, k, gold)
            yield fact | {"continuation": text, "isbanned": False, "prompt": "p",
                          "response": response(text)}  # fmt: skip

    def person(k):
        gold = f"person{k}@place{k}.example"
        return {"gt-email": gold, "gt-name": f"Person {k}"}, gold

    def secret(k):
        return {"gt": f"value-{k:04d}"}, f"value-{k:04d}"

    for setting in ENRON:
        nominal = 3333 if setting.startswith("context") else 3294
        size = nominal - nominal % 10 if enron_rows is None else enron_rows
        write_lines(folder / f"enron/{setting}_s{nominal}_{model}_1.jsonl",
                    rows("enron", setting, size, person))  # fmt: skip
    for kind in PII:
        for mode in PII_MODES:
            name = kind.replace(" ", "") if run else kind.title() if kind == "ssn" else kind
            write_lines(folder / f"pii/{name}_{mode}_s100_{model}_1.jsonl",
                        rows("pii", f"{kind}_{mode}", 120, secret))  # fmt: skip
    for topic in PRIVACY_TOPICS:
        for question in (1, 2):
            write_lines(folder / f"understanding/{topic}_t0_s100_{model}_ques{question}_1.jsonl",
                        rows("understanding", topic, 1700 if question == 1 else 1,
                             lambda k: ({"word": "in secret"}, None)))  # fmt: skip
    return folder


# -- toxicity --------------------------------------------------------------------------------------
ANNOTATED = "n=25.out1.split.annotated.jsonl.filtered.jsonl"
TOXICITY_FILES = {
    "toxic": "toxic.jsonl",
    "nontoxic": "nontoxic.jsonl",
    "toxic-gpt3.5": f"toxic.jsonl.gpt3.{ANNOTATED}",
    "toxic-gpt4": f"toxic.jsonl.gpt4.{ANNOTATED}",
}


def toxicity_prompt(name: str, k: int) -> str:
    # The gpt3 file repeats some texts: rows are told apart by their place.
    return f"Beginning {k % 1195} of {name}" if name == "toxic-gpt3.5" else f"Start {k} of {name}"


def toxicity_size(name: str) -> int:
    return 1196 if name == "toxic" else 1200


def write_toxicity_data(root: Path) -> None:
    for name, file in TOXICITY_FILES.items():
        facts = {"score": {"toxicity": 0.25}} if "gpt" in name else {"toxicity": None}
        write_lines(root / "data/toxicity/user_prompts" / file, [
            {"source": "s", "prompt": {"text": toxicity_prompt(name, k), **facts}}
            for k in range(toxicity_size(name))
        ])  # fmt: skip


def toxicity_lines(name: str, answer, samples=25):
    """`answer(name, position, sample)`."""
    for k in range(toxicity_size(name)):
        prompt = toxicity_prompt(name, k)
        texts = [answer(name, k, j) for j in range(samples)]
        choices = [{"index": j, "message": {"content": text}} for j, text in enumerate(texts)]
        yield {"continuation": texts[0], "isbanned": False, "prompt": prompt, "message": [],
               "all_text": prompt + texts[0], "response": {"choices": choices}}  # fmt: skip


def write_toxicity_run(root: Path, model: str, answer, names=tuple(TOXICITY_FILES)):
    folder = root / "results/toxicity/user_prompts/generations" / model
    for name in names:
        for template in (0, 1):
            write_lines(folder / f"{name}-template-{template}-generations.jsonl",
                        toxicity_lines(f"{name}", answer))  # fmt: skip
    return folder
