"""Packs: checked before use, broken rows named by file and line, bounded selections."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_pack import write_mini_pack

from assay_core.digest import sha256_bytes
from assay_core.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound
from assay_core.storage import ObjectStore
from assay_evaluators.dimensions.ethics.scenarios import EthicsRow
from assay_evaluators.dimensions.utility.scenarios import MMLU_DEV_FILE, MmluRow, render_mmlu
from assay_evaluators.packs import Pack, Prompts, Row, select_rows
from assay_evaluators.packs.depot import PackDepot
from assay_evaluators.packs.writing import PackWriter
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.service.pack_access import PackAccess

FILE = "data/ethics/zero_shot.jsonl"


@pytest.fixture
def pack_dir(tmp_path) -> Path:
    write_mini_pack(tmp_path / "pack")
    return tmp_path / "pack"


def rewrite(pack_dir: Path, edit) -> None:
    """Edits the lines of a file and keeps pack.json true."""
    path = pack_dir / FILE
    lines = path.read_text().splitlines()
    edit(lines)
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(data)
    manifest = json.loads((pack_dir / "pack.json").read_text())
    entry = manifest["files"][FILE]
    entry |= {"digest": sha256_bytes(data), "bytes": len(data), "rows": len(lines)}
    (pack_dir / "pack.json").write_text(json.dumps(manifest))


def set_line(number, text):
    return lambda lines: lines.__setitem__(number - 1, text)


BROKEN = {
    "not JSON": (set_line(3, "{"), f"{FILE}:3"),
    "missing field": (
        set_line(2, '{"id":"x","cluster_id":"x","input":"secret"}'),
        f"{FILE}:2: .*label",
    ),
    "wrong type": (
        set_line(5, '{"id":"x","cluster_id":"x","input":"secret","label":7}'),
        f"{FILE}:5: .*label",
    ),
    "unknown field": (
        set_line(1, '{"id":"x","cluster_id":"x","input":"secret","label":1,"extra":1}'),
        f"{FILE}:1: .*extra",
    ),
    "repeated id": (
        lambda lines: lines.__setitem__(6, lines[0]),
        f"{FILE}:7: repeats the id of line 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_row_is_refused_with_file_and_line_and_no_content(kind, pack_dir):
    edit, message = BROKEN[kind]
    rewrite(pack_dir, edit)
    with pytest.raises(InvalidArgument, match=message) as caught:
        Pack.open(str(pack_dir)).rows(FILE, EthicsRow)
    assert "secret" not in str(caught.value)
    assert caught.value.remedy


def test_a_row_broken_by_hand_is_named_although_the_digest_is_wrong_too(pack_dir):
    path = pack_dir / FILE
    path.write_text(path.read_text().replace('"label": 1', '"label": "x"', 1))
    with pytest.raises(InvalidArgument, match=f"{FILE}:2"):
        Pack.open(str(pack_dir)).rows(FILE, EthicsRow)


def test_a_changed_file_is_data_loss(pack_dir):
    path = pack_dir / FILE
    path.write_text(path.read_text().replace("Deed 1", "Deed X", 1))
    with pytest.raises(DataLoss, match=FILE):
        Pack.open(str(pack_dir)).verify()
    with pytest.raises(DataLoss, match=FILE):
        Pack.open(str(pack_dir)).rows(FILE, EthicsRow)


def test_a_pack_of_another_digest_is_refused(pack_dir):
    pack = Pack.open(str(pack_dir))
    assert Pack.open(str(pack_dir), digest=pack.digest).digest == pack.digest
    with pytest.raises(DataLoss, match="not the one asked for"):
        Pack.open(str(pack_dir), digest="sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", 2),
        ("files", {"../x": {"digest": "sha256:" + "0" * 64, "bytes": 1}}),
        ("name", ""),
    ],
)
def test_a_broken_manifest_is_refused(key, value, pack_dir):
    manifest = json.loads((pack_dir / "pack.json").read_text()) | {key: value}
    (pack_dir / "pack.json").write_text(json.dumps(manifest))
    with pytest.raises(InvalidArgument, match=r"pack\.json"):
        Pack.open(str(pack_dir))


def test_no_pack_says_what_to_name(tmp_path):
    with pytest.raises(NotFound, match=r"pack\.json"):
        Pack.open(str(tmp_path))


def test_a_pack_opens_from_a_bucket_uri(pack_dir):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(pack_dir), "/bucket/pack", recursive=True)
    pack = Pack.open("memory://bucket/pack")
    pack.verify()
    assert pack.digest == Pack.open(str(pack_dir)).digest


def test_a_broken_row_in_a_bucket_is_refused_with_file_and_line(pack_dir):
    import fsspec

    rewrite(pack_dir, set_line(4, '{"id":"x","cluster_id":"x","input":"secret","label":7}'))
    fsspec.filesystem("memory").put(str(pack_dir), "/bucket/broken", recursive=True)
    with pytest.raises(InvalidArgument, match=f"{FILE}:4: .*label") as error:
        Pack.open("memory://bucket/broken").rows(FILE, EthicsRow)
    assert "secret" not in str(error.value)


def test_a_failed_import_leaves_nothing_and_content_is_not_overwritten(tmp_path):
    writer = PackWriter(tmp_path / "new")
    writer.discard()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(AlreadyExists):
        PackWriter(tmp_path / "full")


def access(tmp_path, named=(), *prefixes: str) -> PackAccess:
    depot = PackDepot(ObjectStore(str(tmp_path / "depot")))
    return PackAccess(dict(named), (str(tmp_path / "allowed"), *prefixes), depot)


def test_only_named_packs_and_allowed_prefixes_are_opened(pack_dir, tmp_path):
    packs = access(tmp_path, {"mini": str(pack_dir)}, "s3://bucket/packs")
    assert packs.open("mini").manifest.name == "mini"
    for uri in (str(pack_dir), "s3://bucket/packsfoo/x", "s3://bucket/packs/../x", "/etc"):
        with pytest.raises(InvalidArgument, match="allowed prefix"):
            packs.open(uri)
    (tmp_path / "allowed").mkdir()
    shutil.copytree(pack_dir, tmp_path / "allowed" / "copy")
    assert packs.open(str(tmp_path / "allowed" / "copy")).manifest.name == "mini"


def test_a_link_out_of_an_allowed_prefix_is_not_followed(pack_dir, tmp_path):
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "link").symlink_to(pack_dir)
    with pytest.raises(InvalidArgument, match="allowed prefix"):
        access(tmp_path).open(str(tmp_path / "allowed" / "link"))


def test_prompts_name_the_key_that_is_missing():
    prompts = Prompts({"a": {"text": "x", "versions": {"dt-2024-09": ["y"], "ct-2024-02": None}}})
    assert prompts.text("a.text") == "x"
    assert prompts.texts("a.versions", "dt-2024-09") == ("y",)
    with pytest.raises(InvalidArgument, match=r"a\.versions"):
        prompts.texts("a.versions", "ct-2024-02")
    with pytest.raises(InvalidArgument, match=r"b\.c"):
        prompts.text("b.c")


def test_a_pack_may_bring_its_own_list_for_our_parser():
    own = Prompts({"assay": {"refusal_phrases": ["nope"]}})
    assert own.texts("assay.refusal_phrases") == ("nope",)
    assert Prompts({}).texts("assay.refusal_phrases")


rows_of = st.lists(st.sampled_from("abc"), min_size=1, max_size=60).map(
    lambda strata: [(Row(id=f"r{k}", cluster_id=f"c{k}"), s) for k, s in enumerate(strata)]
)


@given(rows_of, st.integers(1, 60))
def test_selection_is_bounded_stratified_nested_and_in_order(pairs, limit):
    stratum = {row.id: name for row, name in pairs}
    rows = [row for row, _ in pairs]
    taken = select_rows(rows, limit, lambda row: stratum[row.id])
    assert len(taken) == min(limit, len(rows))
    assert [row for row in rows if row in taken] == list(taken)
    assert set(select_rows(rows, limit - 1 or 1, lambda row: stratum[row.id])) <= set(taken)
    whole, part = Counter(stratum.values()), Counter(stratum[row.id] for row in taken)
    for name, count in whole.items():
        assert abs(part[name] - count * len(taken) / len(rows)) <= 2


def test_selection_does_not_depend_on_row_order(mini_pack):
    rows = mini_pack.rows(FILE, EthicsRow)
    forward = select_rows(rows, 5, lambda row: row.label)
    assert set(forward) == set(select_rows(rows[::-1], 5, lambda row: row.label))


def test_only_empty_braces_are_places_to_fill():
    prompts = Prompts({"t": "{0} {} {x}", "wide": "{:>9999999999}", "two": "{} {}"})
    assert prompts.filled("t", "value {}") == "{0} value {} {x}"
    assert prompts.filled("two", "a", "b") == "a b"
    for key in ("wide", "two"):
        with pytest.raises(InvalidArgument, match="must have 1"):
            prompts.filled(key, "a")


@pytest.mark.parametrize("header", ["about {x}", "about {} and {}", "{:>9999999999}"])
def test_a_text_that_cannot_be_filled_is_the_packs_mistake(header, tmp_path):
    texts = {
        "header": header, "option_line": "\n{}. {}", "answer_prompt": "\nAnswer:",
        "demonstration_answer": " {}", "choices": ["A", "B", "C", "D"],
    }  # fmt: skip
    row = MmluRow(
        id="a", cluster_id="a", subject="law", question="?", choices=("1", "2", "3", "4"), answer=0
    )
    writer = PackWriter(tmp_path / "pack")
    writer.add_prompts({"mmlu": texts})
    writer.add_rows(MMLU_DEV_FILE, [row])
    writer.finish(name="p", version="1", licence="", attribution="", source="")
    pack = Pack.open(str(tmp_path / "pack"))
    context = RowContext(pack, pack.prompts(), "mmlu", 0)
    with pytest.raises(InvalidArgument, match=r"prompts.json:mmlu.header"):
        list(render_mmlu([row], context))
