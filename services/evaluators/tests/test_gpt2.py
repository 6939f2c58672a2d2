"""GPT-2's byte-pair encoding from the packaged vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_evaluators.sdk.gpt2 import count_tokens, decode, encode

# Published encodings (the release's README and papers that print them).
KNOWN = {
    "": [],
    "Hello world": [15496, 995],
    " a b": [257, 275],
    "The following are multiple choice questions": [464, 1708, 389, 3294, 3572, 2683],
}


@pytest.mark.parametrize(("text", "ids"), KNOWN.items())
def test_known_texts_have_their_published_ids(text, ids):
    assert encode(text) == ids


def test_special_tokens_are_plain_text():
    assert count_tokens("<|endoftext|>") > 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives_the_round_trip(text):
    assert decode(encode(text)) == text
