"""Reading a whole pack: every row against its dimension's rules, every file's digest."""

from __future__ import annotations

from dataclasses import dataclass

from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.dimension import dimension_names, load_dimension


@dataclass(frozen=True)
class CheckedPack:
    """A pack that is good.

    Attributes:
        pack: The pack.
        rows: Rows by dimension that has an evaluator here.
        unchecked: Dimensions without one, whose rows nobody looked at.
    """

    pack: Pack
    rows: dict[str, int]
    unchecked: tuple[str, ...]


def check_pack(uri: str) -> CheckedPack:
    """Reads a whole pack. Blocks.

    Raises:
        AssayError: Names the file, and the line of a broken row.
    """
    pack = Pack.open(uri)
    rows = _rows(pack)
    # After the rows, because who edited a pack wants to know the row first.
    pack.verify()
    pack.prompts()
    unchecked = sorted(set(pack.manifest.dimensions) - set(dimension_names()))
    return CheckedPack(pack, rows, tuple(unchecked))


def _rows(pack: Pack) -> dict[str, int]:
    checked: dict[str, int] = {}
    for name in dimension_names():
        entry = pack.manifest.dimensions.get(name)
        if entry is None:
            continue
        dimension = load_dimension(name)
        # Scenarios share files: each is read once.
        read: dict[str, int] = {}
        for scenario_name, scenario in entry.scenarios.items():
            if scenario.file is not None:
                model = dimension.row_model_of(scenario_name)
                for path in (scenario.file, *dimension.extra_files(scenario_name)):
                    if path not in read:
                        read[path] = len(pack.rows(path, model))
        checked[name] = sum(
            read[scenario.file]
            for scenario in entry.scenarios.values()
            if scenario.file is not None
        )
    return checked
