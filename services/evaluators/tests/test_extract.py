"""Texts from program files: the published values, both versions, and nothing is executed."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from program_writer import write_comp_trust, write_decodingtrust

from assay_core.errors import NotFound
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.packs.decodingtrust.extract import extract_texts, published_digests
from assay_evaluators.packs.decodingtrust.program import Module, SymbolError
from assay_evaluators.packs.decodingtrust.texts_table import DIMENSIONS
from assay_evaluators.packs.loading import Pack

VERSIONS = ("dt-2024-09", "ct-2024-02")


# -- reading literals ------------------------------------------------------------------------------
SOURCE = '''
import os
os.remove("anything")
A = ["x", "y" "z"]
B = [f"say {p}" for p in A] + ["it: " + p for p in A]
C = {"k": (1, None), "m": A}
D = f"{C['m'][1]}!"
E = os.getcwd()

class K:
    F = {"a"}

def g(y="why"):
    pass

def f(x):
    """docstring"""
    z = f"{x} part"
    return ["one", "two" "three", z.find("four"), "one"]
'''


def test_literals_are_evaluated_and_nothing_is_run():
    module = Module(SOURCE)
    assert module.constant("B") == ["say x", "say yz", "it: x", "it: yz"]
    assert module.constant("C", "k", 1) is None
    assert module.constant("D") == "yz!"
    assert module.attribute("K", "F") == ["a"]
    assert module.default("g", "y") == "why"
    for name in ("E", "missing"):
        with pytest.raises(SymbolError, match=name):
            module.constant(name)


def test_string_constants_are_counted_without_docstring_and_f_strings():
    assert Module(SOURCE).strings("f") == ["one", "twothree", "four", "one"]


def test_a_block_that_is_no_python_is_left_out():
    module = Module("A = 1\n\ndef broken(x):\n    if !x:\n        pass\n\nB = 2\n")
    assert (module.constant("A"), module.constant("B")) == (1, 2)
    with pytest.raises(SymbolError):
        module.function("broken")


@given(st.text())
def test_any_text_is_a_module_or_a_symbol_error(text):
    with contextlib.suppress(SymbolError):
        Module(text)


# -- whole checkouts -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def texts(decodingtrust):
    return json.loads((decodingtrust / "prompts.json").read_text())


@pytest.fixture(scope="module")
def checkouts(texts, tmp_path_factory):
    root = tmp_path_factory.mktemp("programs")
    upstream, fork = (write_decodingtrust(root / v, texts, v) for v in VERSIONS)
    return upstream, fork, write_comp_trust(root / "comp-trust", texts)


def test_three_checkouts_give_the_published_values(texts, checkouts):
    extracted = extract_texts(checkouts, DIMENSIONS)
    found, wanted = dict(extracted.document), dict(texts)
    assert found.pop("meta") != wanted.pop("meta")
    # A version without a list has none in the document; prompts.json says null.
    for name in ("ai_disclaimer_phrases", "echo_fragments", "text_markers_removed_or_cut"):
        for version in VERSIONS:
            found["stereotype"][name].setdefault(version, None)
    for group, values in wanted.items():
        assert found[group] == values, group
    assert extracted.unverified == []
    assert extracted.variants == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_one_checkout_gives_its_own_version(version, texts, checkouts):
    root = checkouts[VERSIONS.index(version)]
    stereotype = extract_texts([root], ["stereotype"]).document["stereotype"]
    assert stereotype["agree_phrases"] == {version: texts["stereotype"]["agree_phrases"][version]}
    assert set(extract_texts([root], ["stereotype"]).document) == {"meta", "chat", "stereotype"}


def test_digests_are_those_of_the_published_texts(texts):
    # The file is written by tools/decodingtrust_digests.py; this is its content made once more.
    from assay_core.digest import digest_of

    for path, by_version in published_digests().items():
        value = texts
        for key in path.split("/"):
            value = value[key]
        for version, digest in by_version.items():
            varies = isinstance(value, dict) and set(value) == set(VERSIONS)
            assert digest == digest_of(value[version] if varies else value), path


def test_a_pack_from_program_files_equals_one_from_prompts_json(decodingtrust, checkouts, tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "src").symlink_to(checkouts[1] / "src")
    (root / "data").symlink_to(decodingtrust / "data")
    wanted = ("ethics", "ood")
    report = import_decodingtrust(root, tmp_path / "a", wanted, also=[checkouts[0], checkouts[2]])
    other = import_decodingtrust(decodingtrust, tmp_path / "b", wanted)
    first, second = (Pack.open(str(tmp_path / name)) for name in "ab")
    assert report.unverified == ()
    assert [s.rows for s in report.scenarios] == [s.rows for s in other.scenarios]
    keys = ("machine_ethics.task_line", "ood.task_line_style", "ood.date_line")
    for version in VERSIONS:
        assert first.prompts().digest(keys, version) == second.prompts().digest(keys, version)


# -- what cannot be found --------------------------------------------------------------------------
@pytest.fixture
def upstream(texts, tmp_path):
    return write_decodingtrust(tmp_path / "upstream", texts, "dt-2024-09")


def test_a_missing_symbol_is_named_with_its_file(upstream):
    path = upstream / "src/dt/perspectives/stereotype/agreement_func.py"
    path.write_text(path.read_text().replace("DISAGREE_PHRASES =", "OTHER ="))
    with pytest.raises(NotFound, match="DISAGREE_PHRASES") as error:
        extract_texts([upstream], ["stereotype"])
    assert error.value.metadata["file"] == "src/dt/perspectives/stereotype/agreement_func.py"
    assert "prompts.json" in error.value.remedy
    # Another dimension is not concerned.
    extract_texts([upstream], ["ethics"])


def test_a_missing_file_is_named(upstream):
    (upstream / "src/dt/perspectives/ood/evaluation_ood.py").unlink()
    with pytest.raises(NotFound, match=r"evaluation_ood\.py is not in the checkout"):
        extract_texts([upstream], ["ood"])


def test_a_text_of_another_commit_is_marked_and_a_moved_one_is_found(upstream):
    path = upstream / "src/dt/chat.py"
    text = path.read_text().replace("You are a helpful assistant.", "You are something else.")
    path.write_text(text.replace("'filler 50'", "'filler 50', 'one more'"))
    extracted = extract_texts([upstream], [])
    assert extracted.unverified == ["chat.system_zero_shot"]
    assert extracted.document["chat"]["system_zero_shot"] == "You are something else."
    assert extracted.document["chat"]["answer_prefix_removed"] == "answer:"


def test_a_checkout_without_texts_is_refused(decodingtrust, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(NotFound, match=r"neither prompts\.json nor src/dt"):
        import_decodingtrust(tmp_path, tmp_path / "out")
