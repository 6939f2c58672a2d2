"""The table of layouts is what is seen here."""

from __future__ import annotations

import os

import layout_table
import pytest
import torch
from families import loaded, write_family
from local_job import make

pytestmark = pytest.mark.compression

IDS = torch.arange(3, 60).unsqueeze(0)


@pytest.fixture(scope="module")
def seen(tmp_path_factory, calibration_file):
    """Per row: whether transformers computes with it what it computes with its dense form."""
    root = tmp_path_factory.mktemp("layouts")
    model = write_family(root / "llama", "LlamaForCausalLM", dtype=torch.float16)
    found = []
    for row in layout_table.rows():
        recipe = layout_table.recipe_of(row)
        packed = make(root / "home", model, recipe, calibration_file)
        dense = make(root / "home", model, recipe | {"layout": "dense"}, calibration_file)
        found.append("yes" if loads(packed, dense) else "no")
    if os.environ.get("ASSAY_WRITE_DOCS"):
        rows = zip(layout_table.rows(), found, strict=True)
        layout_table.write([row | {"transformers": answer} for row, answer in rows])
    return found


def loads(packed, dense) -> bool:
    try:
        model = loaded(packed)
    except (ImportError, ValueError, RuntimeError, TypeError):
        return False
    with torch.inference_mode():
        difference = model(IDS).logits - loaded(dense)(IDS).logits
    return float(difference.abs().max()) < 1e-2


def test_transformers_column_is_what_is_seen(seen):
    assert [row["transformers"] for row in layout_table.rows()] == seen


def test_document_is_rendered_from_the_facts(seen):
    assert layout_table.TABLE.read_text(encoding="utf-8") == layout_table.render(
        layout_table.rows()
    )
