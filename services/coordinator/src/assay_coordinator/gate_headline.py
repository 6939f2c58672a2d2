"""The gate's answer in one sentence, worst news first."""

from __future__ import annotations

from collections.abc import Sequence

from assay_coordinator.domain.comparison import VariantGate
from assay_coordinator.statistics.decision import Verdict

_MOST = 3
_WORDS = ((Verdict.FAIL, "Do not ship"), (Verdict.INCONCLUSIVE, "Undecided"))


def headline(results: Sequence[VariantGate]) -> str:
    """As `Do not ship gptq-3bit: ethics -6.1 [-8.0, -4.2]; privacy undecided: 1,100 more rows`."""
    if not results:
        return "Nothing was compared."
    common = _common_model([result.variant_key for result in results])
    parts = []
    for verdict, words in _WORDS:
        chosen = [result for result in results if result.verdict is verdict]
        parts += [f"{words} {_mention(result, common)}" for result in chosen[:_MOST]]
        if len(chosen) > _MOST:
            others = ", ".join(_name(result, common) for result in chosen[_MOST:])
            parts.append(f"{words} {others} either")
    passed = [result for result in results if result.verdict is Verdict.PASS]
    if passed:
        parts.append("May ship " + ", ".join(_name(result, common) for result in passed))
    return ". ".join(parts) + "."


def _mention(result: VariantGate, common: str) -> str:
    bad = [check for check in result.checks if check.verdict is not Verdict.PASS]
    bad.sort(key=lambda check: check.verdict is not Verdict.FAIL)
    reasons = list(dict.fromkeys(check.short for check in bad))
    more = f"; and {len(reasons) - _MOST} more" if len(reasons) > _MOST else ""
    return f"{_name(result, common)}: {'; '.join(reasons[:_MOST])}{more}"


def _name(result: VariantGate, common: str) -> str:
    return result.variant_key.removeprefix(common).removesuffix("/seed0")


def _common_model(keys: Sequence[str]) -> str:
    """`demo/` if every key is of that model, because then it tells nothing."""
    models = {key.split("/", 1)[0] for key in keys}
    return f"{models.pop()}/" if len(models) == 1 else ""
