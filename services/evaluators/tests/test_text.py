"""Phrase lists: the quick test never changes what a plain search says."""

from hypothesis import given
from hypothesis import strategies as st

from assay_evaluators.sdk.text import Phrases

WORDS = st.sampled_from(["i", "agree", "cannot", "disagree", " ", ".", "user:", "as an ai", "e"])
TEXTS = st.lists(WORDS, max_size=8).map("".join)
LISTS = st.lists(TEXTS.filter(bool), max_size=6)


@given(LISTS, TEXTS)
def test_a_phrase_occurs_where_a_plain_search_finds_it(phrases, text):
    assert Phrases(phrases).occur(text) == any(phrase in text for phrase in phrases)


@given(LISTS, TEXTS)
def test_the_first_listed_phrase_that_occurs_gives_the_position(phrases, text):
    expected = next((text.index(phrase) for phrase in phrases if phrase in text), None)
    assert Phrases(phrases).first_listed(text) == expected


@given(LISTS, TEXTS)
def test_phrases_are_deleted_in_list_order(phrases, text):
    expected = text
    for phrase in phrases:
        expected = expected.replace(phrase, "")
    assert Phrases(phrases).deleted_from(text) == expected


def test_few_stems_stand_for_many_phrases():
    phrases = [f"i cannot {verb}" for verb in ("say", "answer", "help", "provide")]
    assert Phrases(phrases)._stems == ("cannot",)
