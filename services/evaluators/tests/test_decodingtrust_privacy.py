"""Privacy from real data: counts, prompts against an independent rendering, nothing shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mini_privacy import write_mini_privacy
from test_decodingtrust import golden, plan, rendered

from assay_core.errors import AssayError, DataLoss, InvalidArgument
from assay_evaluators.dimensions.privacy import DIMENSION
from assay_evaluators.dimensions.privacy.scenarios import CONTEXT, ENRON, PII, UNDERSTANDING
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.packs.loading import Pack, parse_rows
from assay_evaluators.sdk.dimension import RowContext

ENRON_DATA = "data/privacy/enron_data"
# The shared copy is cut to 60 people; a whole checkout has the counts of section 4.1.
WHOLE = {"enron": 3294, "context": 3333, "pii": 100, "understanding": 1700}


def load(root: Path, name: str):
    return json.loads((root / ENRON_DATA / f"{name}.json").read_text())


def test_rows_found_and_expected_are_those_of_the_specification(imported, decodingtrust):
    reports = {s.scenario: s for s in imported[0].scenarios if s.dimension == "privacy"}
    assert tuple(reports) == (*ENRON, *PII, *UNDERSTANDING)
    people = len(load(decodingtrust, "one_shot"))
    for name in ENRON:
        expected = WHOLE["context" if name in CONTEXT else "enron"]
        assert reports[name].rows_expected == expected
        if name not in CONTEXT:
            assert reports[name].rows == people
            assert reports[name].sample == (people < expected)
    for name in PII:
        assert reports[name].rows_expected == WHOLE["pii"]
    for name in UNDERSTANDING:
        assert (reports[name].rows, reports[name].is_whole) == (WHOLE["understanding"], True)


def test_absent_contexts_are_reported_and_make_no_score(imported, decodingtrust):
    if (decodingtrust / ENRON_DATA / "context.json").exists():
        pytest.skip("this checkout has context.json")
    reports = {s.scenario: s for s in imported[0].scenarios}
    for name in CONTEXT:
        assert reports[name].rows == 0
        assert "context.json is not in the checkout" in reports[name].missing
    assert not plan(imported[1], "privacy").is_complete


def test_pii_cases_with_a_repeated_name_are_skipped(imported, decodingtrust):
    cases = list(load(decodingtrust, "five_shot").values())
    kept = [
        case for case, people in enumerate(cases)
        if people[3][1] not in [name for _, name in people[:3]]
    ]  # fmt: skip
    planned = {s.name: s.samples for s in plan(imported[1], "privacy").scenarios}
    ids = [int(sample.id.rsplit("-", 1)[1]) for sample in planned["pii_ssn_3shotattack"]]
    assert ids == kept[:100]
    assert len(planned["pii_ssn_0shotattack"]) == min(100, len(cases))


# -- golden prompts: rendered here once more, from the raw files -----------------------------------
def enron_turns(root, prompts, setting):
    p, template = prompts["privacy"], setting[-1]
    query = p["enron_templates"][template]["query"]
    shown = p["enron_templates"][template]["demonstration"]
    names = load(root, "email2name")
    kind = setting.removeprefix("enron_")[:-2]
    source = "one_shot" if "zero" in kind else kind.replace("-", "_")
    for address, supports in load(root, source).items():
        text = ""
        if kind == "knownzero-shot":
            text = p["enron_knownzero_prefix"].format(address.partition("@")[2])
        elif kind != "zero-shot":
            text = "".join(shown.format(name, mail) for mail, name in supports)
        yield [["user", text + query.format(names[address])]]


def understanding_turns(root, prompts, setting):
    p = prompts["privacy"]
    people = [p["understanding_persons"][f"person_{k}"] for k in (1, 2, 3, 4, 1, 2, 3)]
    fact = p["understanding_topic_phrase_fact"][setting.partition("_")[2]]
    question = p["understanding_questions"]["1"].format(
        person_4=p["understanding_persons"]["person_4"]
    )
    for phrasing in p["understanding_phrasings"]:
        text = phrasing.format(*people, fact) + p["understanding_separator"] + question
        for _ in range(100):
            yield [["user", text]]


@pytest.mark.parametrize(
    ("turns", "scenarios"),
    [
        (enron_turns, [name for name in ENRON if name not in CONTEXT]),
        (understanding_turns, UNDERSTANDING),
    ],
    ids=["enron", "understanding"],
)
def test_prompts_equal_an_independent_rendering(turns, scenarios, imported, decodingtrust):
    prompts = json.loads((decodingtrust / "prompts.json").read_text())
    planned = {s.name: s for s in plan(imported[1], "privacy", tuple(scenarios)).scenarios}
    for name in scenarios:
        assert rendered(planned[name]) == golden(turns(decodingtrust, prompts, name)), name


@pytest.mark.parametrize("scenario", PII)
def test_pii_prompts_state_five_facts_then_demonstrations_then_the_question(
    scenario, imported, decodingtrust
):
    p = json.loads((decodingtrust / "prompts.json").read_text())["privacy"]
    _, slug, mode = scenario.split("_")
    kind, shots = slug.replace("-", " "), int(mode[0])
    cases = list(load(decodingtrust, "five_shot").values())
    (planned,) = plan(imported[1], "privacy", (scenario,)).scenarios
    assert planned.samples
    for sample in planned.samples:
        people = cases[int(sample.id.rsplit("-", 1)[1])]
        system, first, *rest = [(m.role, m.content) for m in sample.messages]
        assert system == ("system", p["pii_system_prompt"].format(kind))
        # The values are read back from the facts and must fit the rest of the conversation.
        facts, _, question = first[1].rpartition("\n")
        values = read_facts(facts, people, kind, p)
        asked = [p["pii_question_template"].format(name, kind) for _, name in people]
        assert question == asked[0]
        expected = []
        for shot in range(shots):
            answer = values[shot]
            if mode.endswith("protect"):
                answer = p["pii_protect_demonstration_answer"].format(kind)
            expected += [("assistant", answer), ("user", asked[shot + 1])]
        assert rest == expected
        assert sample.gold == values[shots]
        assert all(
            fits(kind, value, person, p) for value, person in zip(values, people, strict=True)
        )


def read_facts(facts, people, kind, p):
    values = []
    for _, name in people:
        before, after = p["pii_fact_template"].format(name, kind, "\0").split("\0")
        assert facts.startswith(before)
        facts = facts[len(before) :]
        value = facts[: facts.index(after)]
        # A postal address holds full stops of its own.
        while kind == "address" and value not in p["pii_candidate_addresses"]:
            value = facts[: facts.index(after, len(value) + 1)]
        values.append(value)
        facts = facts[len(value) + len(after) :]
    assert not facts
    return values


def fits(kind, value, person, p):
    upper, digits = set("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), set("0123456789")
    if kind == "email address":
        return value == person[0]
    if kind == "address":
        return value in p["pii_candidate_addresses"]
    lengths = {"ssn": 9, "social security number": 9, "password": 12, "ssh private key": 12,
               "secret key": 12, "credit card number": 16}  # fmt: skip
    alphabets = {"passport number": upper | digits, "canary code": upper}
    words = {"password", "ssh private key", "secret key"}
    alphabet = alphabets.get(kind, digits)
    if kind in words:
        alphabet = upper | digits | {letter.lower() for letter in upper}
    return len(value) == lengths.get(kind, 10) and set(value) <= alphabet


def test_pii_values_are_a_function_of_type_case_and_seed(imported):
    def golds(scenario, **changes):
        (planned,) = plan(imported[1], "privacy", (scenario,), **changes).scenarios
        return {sample.id: sample.messages[1].content for sample in planned.samples}

    alone = golds("pii_ssn_0shotattack")
    together = {s.name: s for s in plan(imported[1], "privacy").scenarios}
    assert alone == {s.id: s.messages[1].content for s in together["pii_ssn_0shotattack"].samples}
    assert golds("pii_ssn_0shotattack", row_limit=5).items() <= alone.items()
    # Attack and protection are about the same values.
    attack, protect = golds("pii_ssn_3shotattack"), golds("pii_ssn_3shotprotect")
    assert attack == protect
    assert golds("pii_ssn_0shotattack", seed=1) != alone
    assert golds("pii_social-security-number_0shotattack") != alone


# -- contexts --------------------------------------------------------------------------------------
@pytest.fixture
def checkout(tmp_path, decodingtrust) -> Path:
    """A writable copy of the privacy files with contexts of our own."""
    root = tmp_path / "checkout"
    (root / ENRON_DATA).mkdir(parents=True)
    (root / "prompts.json").write_bytes((decodingtrust / "prompts.json").read_bytes())
    for file in (decodingtrust / ENRON_DATA).glob("*.json"):
        (root / ENRON_DATA / file.name).write_bytes(file.read_bytes())
    addresses = list(load(root, "email2name"))
    texts = {a: f"{'far ' * 400}near {k} word word word [mailto:" for k, a in enumerate(addresses)}
    (root / ENRON_DATA / "context.json").write_text(json.dumps(texts))
    return root


def imports(root, out):
    report = import_decodingtrust(root, out, ("privacy",))
    return report, Pack.open(str(out))


def test_contexts_are_the_last_gpt2_tokens_of_the_last_1024_characters(checkout, tmp_path):
    _, pack = imports(checkout, tmp_path / "out")
    planned = {s.name: s for s in plan(pack, "privacy", CONTEXT).scenarios}
    texts = load(checkout, "context")
    # In these texts a word with its blank is one token; "[mailto:" has four.
    for name, tokens in zip(CONTEXT, (50, 100, 200), strict=True):
        sample = planned[name].samples[3]
        text = sample.messages[0].content
        assert [m.role for m in sample.messages] == ["user"]
        assert list(texts.values())[3].endswith(text)
        assert text.endswith("near 3 word word word [mailto:")
        assert text.count(" far") == tokens - 5 - 4
        assert sample.gold == list(texts)[3]


def test_an_address_without_a_name_is_named_by_position_alone(checkout, tmp_path):
    names = load(checkout, "email2name")
    address = list(names)[2]
    del names[address]
    (checkout / ENRON_DATA / "email2name.json").write_text(json.dumps(names))
    with pytest.raises(DataLoss, match=r"context\.json:3: \(entry\)") as caught:
        imports(checkout, tmp_path / "out")
    assert address not in repr(caught.value.__dict__) + str(caught.value)


@pytest.mark.parametrize("supports", [None, [], [["only@one.example"]], [["no address", "N"]] * 5])
def test_a_broken_entry_is_named_by_position_alone(supports, checkout, tmp_path):
    people = load(checkout, "five_shot")
    address = list(people)[1]
    people[address] = supports
    (checkout / ENRON_DATA / "five_shot.json").write_text(json.dumps(people))
    with pytest.raises(AssayError, match=r"five_shot\.json:2: \(entry\)") as caught:
        imports(checkout, tmp_path / "out")
    assert address not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_ids_and_clusters_hold_no_address_and_no_name(imported, decodingtrust):
    names = load(decodingtrust, "email2name")
    for scenario in plan(imported[1], "privacy").scenarios:
        for sample in scenario.samples:
            shown = f"{sample.id} {sample.cluster_id} {sample.group} {sample.topic} {sample.label}"
            assert "@" not in shown
            assert not any(name in shown for name in names.values())


# -- texts of a pack -------------------------------------------------------------------------------


def test_a_phrasing_that_the_pack_lacks_is_named(tmp_path):
    write_mini_privacy(tmp_path / "mini")
    file = tmp_path / "mini/data/privacy/understanding.jsonl"
    data = file.read_text().replace('"phrasing": 1', '"phrasing": 7', 1)
    pack = Pack.open(str(tmp_path / "mini"))
    rows = parse_rows(data.encode(), "f", DIMENSION.row_model_of("understanding_exam"))
    context = RowContext(pack, pack.prompts(), "understanding_exam", 0)
    with pytest.raises(InvalidArgument, match="names phrasing 7, the pack has 2"):
        list(DIMENSION.samples(rows, context))
