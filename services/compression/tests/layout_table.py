"""docs/compression-layouts.md: what each layout loads in. The facts are in the JSON file beside it.

The transformers column is what `test_layouts.py` sees; the vLLM column what `make layouts-vllm`
saw, which asks this module for the artifacts (`python layout_table.py MODEL FOLDER`).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[3] / "docs"
FACTS = DOCS / "compression-layouts.json"
TABLE = DOCS / "compression-layouts.md"

_HEAD = """\
# Which layout loads where

Written by the tests of the compression service from `compression-layouts.json`
(`ASSAY_WRITE_DOCS=1 pytest services/compression/tests/test_layouts.py`; the vLLM column by
`make layouts-vllm`). A checkpoint "loads" if it computes what the dense form of its integers does.
A layout does not depend on the method: 4 bit of GPTQ and of RTN are one row. The last column is
vLLM's own table of what its kernels take, not tried here.

| layout | bits | grid | methods | transformers 5.17 | vLLM 0.32, CPU | vLLM 0.32, GPU |
|---|---|---|---|---|---|---|
"""
_FOOT = """
Every engine serves `dense`, and it swaps in place. GPT-2's matrices are stored by input and have no
packed layout here. In transformers the GPTQ format needs `optimum` and `gptqmodel`, which this
environment does not have. vLLM takes the GPTQ format with 4 or 8 bit and a symmetric grid, and
compressed-tensors with 2 to 8 bit (`auto_gptq.py`, `compressed_tensors_wNa16.py` of vLLM 0.32).
Its CPU kernel knows 4 bits: "no" in that column is what its own check of the packing says, before
any engine; "not run" is what that check accepts and no engine has been started with here.
"""


def rows() -> list[dict[str, Any]]:
    """The facts, a row per layout, bits and symmetry."""
    found: list[dict[str, Any]] = json.loads(FACTS.read_text(encoding="utf-8"))
    return found


def recipe_of(row: dict[str, Any]) -> dict[str, Any]:
    """A recipe without calibration that gives a checkpoint of this row."""
    if row["layout"] == "dense":
        return {"magnitude": {"pattern": "2:4"}}
    grid = {"bits": row["bits"], "group_size": 32, "symmetric": row["symmetric"]}
    return {"rtn": grid, "layout": row["layout"]}


def render(facts: list[dict[str, Any]]) -> str:
    """The document."""
    lines = [
        f"| `{row['layout']}` | {row['bits'] or 'all'} | {_grid(row)} | {row['methods']} "
        f"| {row['transformers']} | {row['vllm_cpu']} | {row['vllm_gpu']} |"
        for row in facts
    ]
    return _HEAD + "\n".join(lines) + "\n" + _FOOT


def write(facts: list[dict[str, Any]]) -> None:
    """Writes facts and document."""
    lines = ",\n".join("  " + json.dumps(row) for row in facts)
    FACTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    TABLE.write_text(render(facts), encoding="utf-8")


def make_artifacts(model: Path, target: Path) -> None:
    """A checkpoint per row, and the dense form of its integers, by numbers."""
    from local_job import make

    target.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows()):
        recipe = recipe_of(row)
        for name, made in (("packed", recipe), ("dense", recipe | {"layout": "dense"})):
            folder = make(target / "home", model, made, Path("unused"))
            shutil.copytree(folder, target / f"{number}-{name}", dirs_exist_ok=True)


def _grid(row: dict[str, Any]) -> str:
    if row["layout"] == "dense":
        return ""
    return "symmetric" if row["symmetric"] else "with zero points"


if __name__ == "__main__":
    make_artifacts(Path(sys.argv[1]), Path(sys.argv[2]))
