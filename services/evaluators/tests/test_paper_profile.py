"""Prompt profile `paper`: the renderings of specification 0.3, and what they lose."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_pack import PROMPTS, TEMPLATES

from assay_core.errors import InvalidArgument
from assay_core.pb import serving_pb2
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.dimension import load_dimension
from assay_evaluators.sdk.likelihood import stored_text
from assay_evaluators.sdk.paper import cut, render, template_of
from assay_evaluators.sdk.plan import make_plan
from assay_evaluators.sdk.spec import Engine, Spec, Subject
from assay_evaluators.sdk.types import Message


def turns(*pairs):
    return [Message(role, content) for role, content in pairs]


def rendered(name, *pairs):
    return render(template_of(Prompts(PROMPTS), name), turns(*pairs))


ZERO_SHOT = (("system", "Sys."), ("user", "T\nX"))
FEW_SHOT = (("system", "Sys."), ("user", "T"), ("assistant", "Ack"), ("user", "D"),
            ("assistant", "Yes"), ("user", "X"))  # fmt: skip


# -- the table of the specification ----------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "messages", "expected"),
    [
        # No BOS, no [INST], no <<SYS>>: the system message replaced them.
        ("llama-2", ZERO_SHOT, "Sys.T\nX[/INST]"),
        (
            "llama-2",
            FEW_SHOT,
            "Sys.T[/INST] Ack </s><s>[INST] D [/INST] Yes </s><s>[INST] X [/INST]",
        ),
        ("llama-2", (("user", "X"),), "<s>[INST] <<S>>\nStock.\n<</S>>\n\nX[/INST]"),
        ("vicuna_v1.1", ZERO_SHOT, "Sys. USER: T\nX ASSISTANT:"),
        (
            "vicuna_v1.1",
            FEW_SHOT,
            "Sys. USER: T ASSISTANT: Ack</s>USER: D ASSISTANT: Yes</s>USER: X ASSISTANT:",
        ),
        ("vicuna_v1.1", (("user", "X"),), "Stock. USER: X ASSISTANT:"),
        ("redpajama-incite-instruct", ZERO_SHOT, "Sys.T\nX\nanswer:"),
        (
            "redpajama-incite-instruct",
            FEW_SHOT,
            "Sys.T\nanswer: Ack\nD\nanswer: Yes\nX\nanswer:",
        ),
        ("redpajama-incite-instruct", (("user", "X"),), "X\nanswer:"),
    ],
)  # fmt: skip
def test_the_renderings_of_the_table(name, messages, expected):
    assert rendered(name, *messages) == expected


def test_the_last_of_several_system_messages_is_what_remains():
    shots = (("system", "Task."), ("system", "Demo"), ("system", "No"), ("user", "X"))
    assert rendered("llama-2", *shots) == "NoX[/INST]"


def test_two_user_turns_break_the_alternating_separators():
    pairs = (("system", "S."), ("user", "Facts"), ("user", "Q"), ("assistant", "A"), ("user", "R"))
    assert rendered("vicuna_v1.1", *pairs) == (
        "S. USER: Facts USER: Q</s>ASSISTANT: A USER: R</s>ASSISTANT:"
    )


def test_an_answer_is_cut_at_the_stop_text_or_loses_its_last_character():
    assert cut("yes. sentence: no", "sentence") == "yes. "
    assert cut("yes", "sentence") == "ye"
    assert cut("", "sentence") == ""


@pytest.mark.parametrize("name", ["", "llama-3"])
def test_a_template_must_be_named_and_known(name):
    with pytest.raises(InvalidArgument, match="paper_template") as error:
        template_of(Prompts(PROMPTS), name)
    assert "llama-2, vicuna_v1.1" in error.value.remedy


def test_a_malformed_template_is_the_packs_fault():
    broken = {"chat": {"paper_profile_templates": {"x": {"system": "s", "roles": ["a"]}}}}
    with pytest.raises(InvalidArgument, match="not what a chat template has"):
        template_of(Prompts(broken), "x")


@given(st.lists(st.tuples(st.sampled_from(("system", "user", "assistant")), st.text())))
def test_every_conversation_renders_and_ends_with_the_open_answer(pairs):
    for name, facts in TEMPLATES.items():
        assert rendered(name, *pairs).rstrip(":").endswith(facts["roles"][1])


# -- plans -----------------------------------------------------------------------------------------
def plan(pack, dimension, scenarios=(), **changes):
    engine = Engine(family="x", version="1", dtype="x", kv_cache_dtype="x", max_model_len=1,
                    device_class="cpu")  # fmt: skip
    subject = Subject(artifact_digest="sha256:" + "0" * 64, engine=engine, tokenizer_digest="",
                      chat_template_digest="")  # fmt: skip
    spec = Spec(dimension=dimension, pack_uri="", pack_digest=pack.digest, subject=subject,
                scenarios=scenarios, **changes)  # fmt: skip
    return make_plan(load_dimension(dimension), pack, spec)


@pytest.fixture
def pack(mini_pack):
    return mini_pack


def test_fairness_few_shot_loses_its_task_line_and_all_demonstrations_but_an_answer(pack):
    scenario = ("few_shot_tr_br_0.0",)
    (paper,) = plan(pack, "fairness", scenario, prompt_profile="paper",
                    paper_template="llama-2").scenarios  # fmt: skip
    (standard,) = plan(pack, "fairness", scenario).scenarios
    for sample, other in zip(paper.samples, standard.samples, strict=True):
        assert sample.text == f"Yes{other.messages[-1].content}[/INST]"
        assert sample.messages == ()
        assert (sample.id, sample.label, sample.group) == (other.id, other.label, other.group)


def test_the_template_is_part_of_the_identity(pack):
    digests = {
        plan(pack, "ethics", ("zero_shot",), **changes).scenarios[0].generation_digest
        for changes in (
            {},
            {"prompt_profile": "paper", "paper_template": "llama-2"},
            {"prompt_profile": "paper", "paper_template": "vicuna_v1.1"},
        )
    }
    assert len(digests) == 3


def test_identities_of_profile_standard_are_what_they_were(pack):
    identity = plan(pack, "ethics", ("zero_shot",)).scenarios[0].identity
    assert "paper_template" not in identity
    assert "cut_at" not in identity["sampling"]
    assert "paper_template" not in plan(pack, "ethics", ("zero_shot",)).spec.document()


def test_a_base_models_answer_is_stored_as_the_original_cut_it(pack):
    (scenario,) = plan(pack, "ethics", ("zero_shot",), prompt_profile="paper",
                       paper_template="redpajama-incite-instruct").scenarios  # fmt: skip
    assert scenario.identity["sampling"]["cut_at"] == "sentence"
    for text, kept in (("wrong\nsentence two", "wrong\n"), ("wrong", "wron")):
        assert stored_text(scenario.sampling, serving_pb2.Completion(text=text)) == kept


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt_profile": "paper"}, "is needed"),
        ({"prompt_profile": "paper", "paper_template": "x"}, "not in the pack"),
        ({"paper_template": "llama-2"}, "goes with prompt profile"),
    ],
)
def test_profile_and_template_go_together(pack, changes, problem):
    with pytest.raises(InvalidArgument, match=problem):
        plan(pack, "ethics", **changes)


# -- real prompts against an independent rendering -------------------------------------------------
def independent(facts, messages):
    """The original's rendering once more, in another way: pieces and then one join."""
    system = [text for role, text in messages if role == "system"][-1:] or [facts["system"]]
    said = [(role, text) for role, text in messages if role != "system"]
    user, answer = facts["roles"]
    style = facts["sep_style"]
    if style == "INSTRUCT":
        lines = [text if role == "user" else f"answer: {text}" for role, text in said]
        return system[0] + "\n".join([*lines, "answer:"])
    marks = {"user": user, "assistant": answer}
    ends = [facts["sep"], facts["sep2"]] * (len(said) // 2 + 1)
    if style == "LLAMA2":
        head, *rest = [text for _, text in said]
        body = "".join(
            marks[role] + " " + text + end
            for (role, _), text, end in zip(said[1:], rest, ends[1:], strict=False)
        )
        return system[0] + head + body + answer
    body = "".join(
        marks[role] + ": " + text + end for (role, text), end in zip(said, ends, strict=False)
    )
    return system[0] + facts["sep"] + body + answer + ":"


def original_turns(dimension, scenario, turns_of_standard):
    """The turns the original sent, from those of profile `standard`."""
    if dimension == "fairness" and scenario.startswith("few_shot"):
        first, *shots, last = turns_of_standard
        return [first, *(("system", text) for _, text in shots), last]
    if dimension == "privacy" and scenario.startswith("pii"):
        system, first, *rest = turns_of_standard
        facts, question = first[1].rsplit("\n", 1)
        return [system, ("user", facts), ("user", question), *rest]
    return list(turns_of_standard)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(
    ("dimension", "rows"),
    [("stereotype", 0), ("toxicity", 300), ("fairness", 0), ("privacy", 0), ("advglue", 0),
     ("ood", 100), ("adv_demonstration", 0), ("ethics", 0)],
)  # fmt: skip
def test_real_prompts_equal_an_independent_rendering(dimension, rows, name, imported,
                                                     decodingtrust):  # fmt: skip
    pack = imported[1]
    facts = json.loads((decodingtrust / "prompts.json").read_text())["chat"]
    facts = facts["paper_profile_templates"][name]
    paper = plan(pack, dimension, prompt_profile="paper", paper_template=name, row_limit=rows)
    standard = plan(pack, dimension, row_limit=rows)
    compared = 0
    for scenario, other in zip(paper.scenarios, standard.scenarios, strict=True):
        ours, theirs = hashlib.sha256(), hashlib.sha256()
        for sample, plain in zip(scenario.samples, other.samples, strict=True):
            said = [(m.role, m.content) for m in plain.messages]
            expected = independent(facts, original_turns(dimension, scenario.name, said))
            ours.update(sample.text.encode() + b"\0")
            theirs.update(expected.encode() + b"\0")
            compared += 1
        assert ours.hexdigest() == theirs.hexdigest(), scenario.name
    assert compared or dimension == "advglue"
