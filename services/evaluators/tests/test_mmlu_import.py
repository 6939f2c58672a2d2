"""MMLU from the original CSV files and from Parquet, alone and beside another pack."""

from __future__ import annotations

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_decodingtrust import plan

from assay_core.errors import AlreadyExists, DataLoss, NotFound
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.mmlu import import_mmlu

SUBJECTS = ("abstract_algebra", "world_religions")
# A cell with a line break, quotes and commas; an option that is a number; an empty option.
ROWS = [(f'Which, of "these"\nis {k}?', ("1", "two, three", "", "four"), k % 4) for k in range(7)]


@pytest.fixture
def folder(tmp_path):
    """The layout of MMLU's own archive."""
    for split, size in (("dev", 5), ("test", 7)):
        (tmp_path / "data" / split).mkdir(parents=True)
        for subject in SUBJECTS:
            path = tmp_path / "data" / split / f"{subject}_{split}.csv"
            with path.open("w", newline="") as stream:
                writer = csv.writer(stream)
                for question, choices, answer in ROWS[:size]:
                    writer.writerow([question, *choices, "ABCD"[answer]])
    return tmp_path


def test_csv_files_without_header_become_questions(folder, tmp_path):
    report = import_mmlu(folder, tmp_path / "out")
    pack = Pack.open(str(tmp_path / "out"), digest=report.pack_digest)
    (scenario,) = plan(pack, "utility", ("mmlu",)).scenarios
    assert [(s.topic, s.label) for s in scenario.samples] == [
        (subject, "ABCD"[k % 4]) for subject in SUBJECTS for k in range(7)
    ]
    question = '\n\nWhich, of "these"\nis 0?\nA. 1\nB. two, three\nC. \nD. four\nAnswer: A\n\n'
    assert scenario.samples[3].text.startswith(
        "The following are multiple choice questions (with answers) about  abstract algebra."
        + question
    )
    assert scenario.samples[3].text.count("\nAnswer:") == 6


def test_what_is_missing_is_said(folder, tmp_path):
    dev = folder / "data/dev/world_religions_dev.csv"
    with dev.open(newline="") as stream:
        rows = list(csv.reader(stream))[:3]
    with dev.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    report = import_mmlu(folder, tmp_path / "out")
    by_name = {s.scenario: s for s in report.scenarios}
    assert (by_name["mmlu"].rows, by_name["mmlu"].rows_expected) == (14, 14_042)
    assert by_name["mmlu"].missing == (
        "14 of 14042 questions, 2 of 57 subjects; fewer than 5 demonstrations of world_religions"
    )
    assert by_name["mmlu_likelihood"].rows == 14
    assert "held-out" in by_name["perplexity"].missing


@pytest.mark.parametrize("layout", ["all/{split}-00000-of-00001.parquet",
                                    "{subject}/{split}-00000-of-00001.parquet"])  # fmt: skip
def test_parquet_files_give_the_same_rows(layout, folder, tmp_path):
    hub = tmp_path / "hub"
    for split, size in (("dev", 5), ("test", 7)):
        for subjects in [SUBJECTS] if "all" in layout else [(s,) for s in SUBJECTS]:
            path = hub / layout.format(split=split, subject=subjects[0])
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [
                {"question": q, "subject": s, "choices": list(c), "answer": a}
                for s in subjects
                for q, c, a in ROWS[:size]
            ]
            pq.write_table(pa.Table.from_pylist(rows), path)
    import_mmlu(folder, tmp_path / "csv")
    import_mmlu(hub, tmp_path / "parquet")
    for name in ("mmlu", "mmlu_dev"):
        files = [tmp_path / kind / f"data/utility/{name}.jsonl" for kind in ("csv", "parquet")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_beside_another_pack_both_are_there(folder, tmp_path, mini_pack, mini_uri):
    heldout = tmp_path / "texts.jsonl"
    heldout.write_text('{"text": "A tale."}\n{"text": "Another tale."}\n')
    import_mmlu(folder, tmp_path / "out", base=mini_pack, heldout=heldout)
    pack = Pack.open(str(tmp_path / "out"))
    pack.verify()
    assert plan(pack, "ethics").is_complete
    assert [s.text for s in plan(pack, "utility", ("perplexity",)).scenarios[0].samples] == [
        "A tale.", "Another tale."
    ]  # fmt: skip
    assert "MMLU" in pack.manifest.attribution
    assert json.loads((tmp_path / "out/prompts.json").read_text()) == mini_pack.prompts()._document


def test_a_broken_row_is_named_and_nothing_is_written(folder, tmp_path):
    path = folder / "data/test/abstract_algebra_test.csv"
    with path.open("a", newline="") as stream:
        csv.writer(stream).writerow(["question", "a", "b", "c", "d", "E"])
    with pytest.raises(DataLoss, match=r"abstract_algebra_test\.csv:\d+: .*letter"):
        import_mmlu(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_mmlu_is_refused(tmp_path, folder):
    with pytest.raises(NotFound, match="dev"):
        import_mmlu(tmp_path / "empty", tmp_path / "out")
    import_mmlu(folder, tmp_path / "out")
    with pytest.raises(AlreadyExists):
        import_mmlu(folder, tmp_path / "out")
