"""Importer of a user's own DecodingTrust checkout into a data pack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from assay_evaluators.packs.decodingtrust.adv_demonstration import import_adv_demonstration
from assay_evaluators.packs.decodingtrust.advglue import import_advglue
from assay_evaluators.packs.decodingtrust.ethics import import_ethics
from assay_evaluators.packs.decodingtrust.fairness import import_fairness
from assay_evaluators.packs.decodingtrust.ood import import_ood
from assay_evaluators.packs.decodingtrust.privacy import import_privacy
from assay_evaluators.packs.decodingtrust.report import ImportReport, ScenarioReport
from assay_evaluators.packs.decodingtrust.source import Checkout
from assay_evaluators.packs.decodingtrust.stereotype import import_stereotype
from assay_evaluators.packs.decodingtrust.toxicity import import_toxicity
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.writing import PackWriter

__all__ = ["ImportReport", "ScenarioReport", "import_decodingtrust"]

_IMPORTERS = {
    "adv_demonstration": import_adv_demonstration,
    "advglue": import_advglue,
    "ethics": import_ethics,
    "fairness": import_fairness,
    "ood": import_ood,
    "privacy": import_privacy,
    "stereotype": import_stereotype,
    "toxicity": import_toxicity,
}
_FACTS = {
    "name": "decodingtrust",
    "version": "161ae83",
    "licence": "CC BY-SA 4.0",
    "attribution": "DecodingTrust (Wang et al., 2023), https://github.com/AI-secure/DecodingTrust;"
    " its inner data sets keep their own terms (ETHICS, Adult, Communities and Crime,"
    " RealToxicityPrompts, Enron)",
    # Stereotype rows are offensive by design: nothing shows them unasked.
    "display": "deny",
    "source": "imported from a local checkout of DecodingTrust",
}


def import_decodingtrust(
    checkout: Path,
    out: Path,
    dimensions: Collection[str] = tuple(_IMPORTERS),
    also: Sequence[Path] = (),
) -> ImportReport:
    """Imports what a checkout has.

    Args:
        checkout: Root of a DecodingTrust checkout (either repository), or a folder with its `data/`
            and a `prompts.json`.
        out: Directory of the pack to write; must not exist or be empty.
        dimensions: Dimensions to import; those without an importer are left out.
        also: Further checkouts whose texts are read: the other repository, for values that differ
            by version, and comp-trust, for MMLU's.

    Raises:
        NotFound: If `checkout` is none, or a text is not in its file (names file and symbol).
        AlreadyExists: If `out` has content.
        DataLoss: Names file and line of a row that cannot be read. Nothing is written then.
    """
    source = Checkout(checkout)
    document, unverified = source.prompts(dimensions, also)
    prompts = Prompts(document)
    writer = PackWriter(out)
    try:
        writer.add_prompts(document)
        scenarios = [
            report
            for name, importer in _IMPORTERS.items()
            if name in dimensions
            for report in importer(source, prompts, writer)
        ]
        digest = writer.finish(**_FACTS)
    except BaseException:
        writer.discard()
        raise
    return ImportReport(
        pack_digest=digest, out=str(out), scenarios=tuple(scenarios), unverified=unverified
    )
