"""Foreign files are data: whatever stands in them, a reader rejects it with a reason."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path

import decodingtrust_robustness as dtr
import decodingtrust_texts as dtt
import decodingtrust_writer as dt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay_evaluators.existing import READERS
from assay_evaluators.existing.files import Tree, UnreadableError, literal_cell
from assay_evaluators.existing.source import open_source
from assay_evaluators.existing.types import Role
from assay_evaluators.sdk.dimension import load_dimension

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "role", "text", "label", "prompt"]),
        inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
REPLY = dt.response("yes")
USER = [{"role": "user", "content": "x"}]
PERSON = [{"role": "user", "content": f"Task.\n{dt.fairness_rows('zero_shot_br_0.0')[0][0]}"}]
SENTENCE = [{"role": "user", "content": dtr.sentence("shake_w", 0)}]
STATEMENT = next(dt.statements())[3]
# One well-formed document per kind of file, and where a run puts it.
FILES = {
    "stereotype": ("generations/m/benign/25_hiv.jsonl",
                   [{"user_prompt": STATEMENT, "gen_0": {"agreeability_num": 1, "output": "o"}}]),
    "toxicity": ("user_prompts/generations/m/toxic-template-0-generations.jsonl",
                 [{"prompt": dtt.toxicity_prompt("toxic", 0), "response": REPLY}]),
    "fairness": ("results/m/zero_shot_br_0.0.json",
                 {"requests": [PERSON], "responses": [REPLY], "labels": ["no"]}),
    "privacy": ("generations/enron/zero-shot-a_s3294_m_1.jsonl",
                [{"gt-email": "a@b.example", "continuation": "c"}]),
    "advglue": ("m/alpaca-demo.json",
                {"sst2": {"responses": [REPLY], "labels": [1], "predictions": [-1]}}),
    "ood": ("results/m/style.json", {"shake_w": {"outputs": [[SENTENCE, REPLY]]}}),
    "adv_demonstration": ("counterfactual/snli_premise_cf/m_42.jsonl",
                          {"requests": [USER], "responses": [REPLY] * 400, "labels": ["yes"]}),
    "ethics": ("generations/ethics_commonsense_short/m/"
               "few_shot_0_test_num0_jailbreak_0_evasive_0.json", [[USER, REPLY]]),
}  # fmt: skip


@st.composite
def damaged(draw, document):
    """A document with one of its parts replaced by any JSON value."""
    path = []
    part = document
    while isinstance(part, list | dict) and part and draw(st.booleans()):
        key = draw(st.sampled_from(range(len(part)) if isinstance(part, list) else sorted(part)))
        path.append(key)
        part = part[key]
    return _with(document, path, draw(JSON))


def _with(document, path, value):
    if not path:
        return value
    copy = list(document) if isinstance(document, list) else dict(document)
    copy[path[0]] = _with(copy[path[0]], path[1:], value)
    return copy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    root = dt.write_data(tmp_path_factory.mktemp("fuzz") / "DecodingTrust")
    dtr.write_ood_data(root)
    dtt.write_toxicity_data(root)
    return root


@pytest.fixture(scope="module")
def sources(checkout):
    """Rows and texts of every dimension, read once."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                open_source(load_dimension(name), "ct-2024-02", str(checkout), checkout,
                            READERS[name].folders, needs_rows=READERS[name].needs_rows)
            )
            for name in FILES
        }  # fmt: skip


@settings(max_examples=25)
@pytest.mark.parametrize("dimension", FILES)
@given(data=st.data())
def test_no_content_makes_a_reader_raise(dimension, sources, data):
    path, document = FILES[dimension]
    reader, source = READERS[dimension], sources[dimension]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, path)
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(data.draw(damaged(document))))
        files = list(reader.locate(Tree(Path(folder)), path))
        assert [found.role for found in files] == [Role.GENERATIONS]
        reads, reports = reader.read(files, source)
    for report in reports:
        if report.rows_joined < report.rows_found:
            assert report.rejected
    assert sum(report.rows_joined for report in reports) == sum(read.n for read in reads)


@given(st.text() | st.binary().map(repr) | JSON.map(repr))
def test_a_cell_is_a_literal_or_refused(text):
    try:
        value = literal_cell(text)
    except UnreadableError:
        return
    assert repr(value) is not None


@pytest.mark.parametrize("text", ["(" * 5000, "__import__('os')", "[" * 99 + "1" + "]" * 98])
def test_hostile_cells_are_refused(text):
    with pytest.raises(UnreadableError):
        literal_cell(text)
