"""Writes the digests of DecodingTrust's published texts, from a `prompts.json` that holds them.

    .venv/bin/python tools/decodingtrust_digests.py PROMPTS_JSON

The importer recognises by them which texts of a checkout are those of the published commits.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from assay_core.digest import digest_of
from assay_evaluators.packs.decodingtrust.entries import CT, DT
from assay_evaluators.packs.decodingtrust.texts_table import CHAT, COMP_TRUST, DIMENSIONS

OUT = Path(__file__).parents[1] / (
    "services/evaluators/src/assay_evaluators/data/decodingtrust-digests.json"
)


def digests(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Digests by path and variant."""
    entries = [*CHAT, *(entry for each in DIMENSIONS.values() for entry in each), *COMP_TRUST]
    found = {}
    for entry in entries:
        value: Any = document
        for key in entry.path:
            value = value[key]
        varies = entry.differs or bool(entry.only)
        by_variant = value if varies else dict.fromkeys((DT, CT), value)
        found["/".join(entry.path)] = {
            variant: digest_of(each) for variant, each in by_variant.items() if each is not None
        }
    return found


def main() -> None:
    """Reads the file named on the command line and writes `OUT`."""
    document = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    OUT.write_text(json.dumps(digests(document), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
