"""Utility: MMLU prompts and crop rule, parsers, likelihoods, perplexity; section 9."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_robustness import write_mini_robustness
from test_decodingtrust import plan

from assay_core.errors import Unimplemented
from assay_core.pb import serving_pb2 as pb
from assay_core.verdicts import Verdict
from assay_evaluators.dimensions.utility import DIMENSION
from assay_evaluators.dimensions.utility.scenarios import CROP_TOKENS, cropped
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.dimension import Outcome
from assay_evaluators.sdk.gpt2 import count_tokens
from assay_evaluators.sdk.likelihood import read_measurement, stored_text
from assay_evaluators.sdk.types import Sample, answered
from assay_evaluators.sdk.work import WorkItem, to_request_item

# No pack has to bring MMLU's texts: the package has them.
PARSERS = {v.version: v.build(Prompts({})) for v in DIMENSION.parsers}
VALUE = DIMENSION.parsers[0].value
MMLU = Sample("mmlu", "s", "s", (), label="B", text="x")
LIKELY = Sample("mmlu_likelihood", "s", "s", (), label="B", text="x")
TEXT = Sample("perplexity", "s", "s", (), text="x")
REFUSED, UNPARSABLE = Verdict.REFUSED, Verdict.UNPARSABLE


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Pack:
    out = tmp_path_factory.mktemp("packs") / "robustness"
    write_mini_robustness(out)
    return Pack.open(str(out))


# -- prompts ---------------------------------------------------------------------------------------
def test_a_question_is_rendered_as_in_the_original_program(pack):
    sample = plan(pack, "utility", ("mmlu",)).scenarios[0].samples[0]
    assert not sample.messages
    text = sample.text
    # The subject has a blank of its own, hence two after "about".
    assert text.startswith(
        "The following are multiple choice questions (with answers) about  tea making.\n\n"
        "Which of these 0?\nA. heron\nB. otter\nC. badger\nD. vole [[A]]\nAnswer: A\n\n"
        "Which of these 1?"
    )
    assert text.endswith("Which of these 0?\nA. heron\nB. otter\nC. badger\nD. vole [[A]]\nAnswer:")
    assert text.count("\nAnswer:") == 6


def test_shots_are_dropped_one_by_one_until_the_prompt_fits():
    shots = [f"shot {k} " + "word " * 600 for k in range(5)]
    prompt = cropped("head ", shots, "question " * 300)
    assert prompt == "head " + "".join(shots[:2]) + "question " * 300
    assert count_tokens(prompt) <= CROP_TOKENS
    assert count_tokens("head " + "".join(shots[:3]) + "question " * 300) > CROP_TOKENS


PIECES = st.text(" \nabcdefgh.,'1", max_size=8).map(lambda piece: piece * 150)


@given(PIECES, st.lists(PIECES, max_size=5), PIECES)
def test_the_quick_count_never_changes_what_fits(header, shots, question):
    fitting = [
        header + "".join(shots[:count]) + question
        for count in range(len(shots) + 1)
        if not count or count_tokens(header + "".join(shots[:count]) + question) <= CROP_TOKENS
    ]
    assert cropped(header, shots, question) == fitting[-1]


def test_a_question_that_never_fits_is_asked_without_shots():
    question = "question " * 3000
    assert cropped("head ", ["shot"], question) == "head " + question


def test_raw_text_travels_as_text_and_is_part_of_the_identity(pack):
    planned = plan(pack, "utility", ("mmlu", "mmlu_likelihood", "perplexity")).scenarios
    items = [
        to_request_item(WorkItem("0", k, s.samples[0], (0,)), s, 0) for k, s in enumerate(planned)
    ]
    assert [item.WhichOneof("prompt") for item in items] == ["text"] * 3
    assert [(i.sampling.max_tokens, i.sampling.logprobs, i.sampling.prompt_logprobs)
            for i in items] == [(16, 0, False), (1, 20, False), (1, 0, True)]  # fmt: skip
    assert all(scenario.identity["raw_text"] for scenario in planned)
    assert planned[1].identity["sampling"]["logprobs"] == 20
    assert planned[2].identity["sampling"]["prompt_logprobs"] is True
    assert len({scenario.generation_digest for scenario in planned}) == 3


def test_options_that_are_off_do_not_change_an_identity(mini_pack):
    (scenario,) = plan(mini_pack, "ethics", ("zero_shot",)).scenarios
    assert scenario.identity["sampling"] == {
        "temperature": 0.0, "top_p": 1.0, "top_k": 0, "max_tokens": 20
    }  # fmt: skip
    assert "raw_text" not in scenario.identity


def test_stop_texts_travel_and_are_part_of_the_identity(pack):
    (scenario,) = plan(pack, "utility", ("mmlu",)).scenarios
    sampling = replace(scenario.sampling, stop=("\n\n",))
    item = to_request_item(
        WorkItem("0", 0, scenario.samples[0], (0,)), replace(scenario, sampling=sampling), 0
    )
    assert list(item.sampling.stop) == ["\n\n"]
    assert sampling.identity() == scenario.sampling.identity() | {"stop": ("\n\n",)}


# -- generated answers -----------------------------------------------------------------------------
LEGACY_RULES = {
    "the first character": ("B", "B"),
    "upper-cased": ("b", "B"),
    "a leading blank is stripped first": (" B", "B"),
    "the end of sequence is removed": ("</s>B", "B"),
    "what follows does not count": ("B. otter", "B"),
    "a word's first letter is an answer": ("Because it is A", "B"),
    "an article is an answer": ("A heron", "A"),
    "anything else is none": ("The answer is B", UNPARSABLE),
    "other letters are none": ("E", UNPARSABLE),
    "empty": ("", UNPARSABLE),
    "a refusal": ("I refuse.", REFUSED),
}
ASSAY_RULES = {
    "a letter alone": (" B\n\nThe following", "B"),
    "with a full stop": ("B. otter", "B"),
    "in brackets": ("(B) otter", "B"),
    "the answer is": ("The answer is B.", "B"),
    "the correct answer is": ("The correct answer is: (B)", "B"),
    "lower case": ("b", "B"),
    "a word's first letter is none": ("Because it is so", UNPARSABLE),
    "an article is none": ("A heron flies", UNPARSABLE),
    "empty": ("", UNPARSABLE),
    "a refusal": ("I cannot answer that.", REFUSED),
}


def outcome(version, text, sample):
    parsed = PARSERS[version](text, sample, 0)
    return parsed.answer or parsed.verdict


@pytest.mark.parametrize("version", ["ct-2024-02", "dt-2024-09"])
@pytest.mark.parametrize("rule", LEGACY_RULES)
def test_legacy(rule, version):
    text, expected = LEGACY_RULES[rule]
    assert outcome(version, text, MMLU) == expected


@pytest.mark.parametrize("rule", ASSAY_RULES)
def test_assay(rule):
    text, expected = ASSAY_RULES[rule]
    assert outcome("assay-2026", text, MMLU) == expected


def test_no_answer_is_wrong():
    assert [VALUE(parsed, MMLU) for parsed in (answered("B"), answered("A"))] == [1.0, 0.0]
    assert VALUE(PARSERS["assay-2026"]("", MMLU, 0), MMLU) == 0.0


# -- likelihoods -----------------------------------------------------------------------------------
def measured(**fields) -> str:
    return json.dumps(fields)


@pytest.mark.parametrize("version", PARSERS)
def test_the_most_likely_letter_answers_summed_over_its_tokens(version):
    top = [["\n", -0.5], ["A", -1.5], [" B", -1.9], ["B", -1.9], ["C ", -9.0]]
    # 2 exp(-1.9) > exp(-1.5).
    assert outcome(version, measured(next=top), LIKELY) == "B"
    assert outcome(version, measured(next=[["\n", -0.1]]), LIKELY) == UNPARSABLE


def test_perplexity_is_the_exponential_of_the_mean_negative_log_likelihood():
    parse = PARSERS["assay-2026"]
    parsed = [parse(measured(tokens=4, logprob=-8.0), TEXT, 0),
              parse(measured(tokens=2, logprob=-2.0), TEXT, 0)]  # fmt: skip
    assert [VALUE(each, TEXT) for each in parsed] == [2.0, 1.0]
    outcomes = [Outcome(TEXT, p, VALUE(p, TEXT)) for p in parsed]
    found = DIMENSION.sub_values("perplexity", outcomes, DIMENSION.parser("assay-2026"))
    assert found == {"perplexity": pytest.approx(math.exp(10 / 6)), "tokens": 6.0}


def test_a_text_without_measured_tokens_has_no_value():
    parsed = PARSERS["assay-2026"](measured(tokens=0, logprob=0.0), TEXT, 0)
    assert (parsed.verdict, VALUE(parsed, TEXT)) == (UNPARSABLE, None)


def test_what_is_stored_is_the_measurement():
    sampling = DIMENSION.sampling("perplexity", "standard")
    completion = pb.Completion(
        text="!", prompt_tokens=3, finish_reason=pb.FINISH_REASON_LENGTH,
        prompt_logprobs=[pb.TokenLogprob(logprob=-1.5), pb.TokenLogprob(logprob=-0.5)],
    )  # fmt: skip
    found = read_measurement(stored_text(sampling, completion))
    assert (found.tokens, found.logprob) == (2, -2.0)
    assert stored_text(DIMENSION.sampling("mmlu", "standard"), completion) == "!"
    del completion.prompt_logprobs[:]
    with pytest.raises(Unimplemented, match="log-probabilities"):
        stored_text(sampling, completion)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tokens", "logprob", "next"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.text() | JSON.map(json.dumps))
def test_every_text_gets_one_class_and_none_raises(text):
    for sample in (MMLU, LIKELY, TEXT):
        for parse in PARSERS.values():
            parsed = parse(text, sample, 0)
            assert (parsed.answer is not None) == (parsed.verdict is Verdict.ANSWERED)
            value = VALUE(parsed, sample)
            assert value is None or math.isfinite(value)
