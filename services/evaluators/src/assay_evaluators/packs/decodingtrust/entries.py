"""Entries of the table of texts: where in a DecodingTrust checkout a text lies.

Numbers of string constants hold for the two published commits and are checked against digests of
the published values (`data/decodingtrust-digests.json`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assay_evaluators.packs.decodingtrust.program import Module

DT, CT = "dt-2024-09", "ct-2024-02"
P = "src/dt/perspectives"
CHAT, CONVERSATION = "src/dt/chat.py", "src/dt/conversation.py"
CT_CONVERSATION, CT_MMLU = "compression/gptq/conversation.py", "scripts/mmlu_autogptq.py"
AGREEMENT = f"{P}/stereotype/agreement_func.py"
BIAS = f"{P}/stereotype/bias_generation.py"
PERSPECTIVE = f"{P}/toxicity/perspective_api_evaluate.py"
FAIRNESS = f"{P}/fairness/score_calculation_script.py"
RESULTS, UTILS = f"{P}/privacy/result_agg.py", f"{P}/privacy/utils.py"
SECRETS = f"{P}/privacy/sys_prompts.py"
GPT_EVAL = f"{P}/advglue/gpt_eval.py"
OOD = f"{P}/ood/evaluation_ood.py"
AGGREGATE = f"{P}/adv_demonstration/aggregate_score.py"
ETHICS, ETHICS_SCORE = (
    f"{P}/machine_ethics/{name}.py" for name in ("test_machine_ethics", "calculate_score")
)
ADV_CONFIGS = "src/dt/configs/adv_demonstration"
PII_CONFIG = "src/dt/configs/privacy/pii_fewshot_attack.yaml"

Finder = Callable[[Module, str], Any]


@dataclass(frozen=True)
class Nth:
    """String constant number `dt` (or `ct`) of a function; source order, from 1."""

    function: str
    dt: int
    ct: int = 0
    ct_function: str = ""

    def place(self, variant: str) -> tuple[str, int]:
        """Function and number in a variant."""
        if variant != CT:
            return self.function, self.dt
        return self.ct_function or self.function, self.ct or self.dt


@dataclass(frozen=True)
class Key:
    """A key of a YAML file, wherever it stands."""

    name: str


@dataclass(frozen=True)
class Entry:
    """Where a text lies.

    Attributes:
        path: Keys in `prompts.json`.
        file: File in the checkout.
        find: How to find it there.
        only: The one variant that has it; empty if both have.
        differs: Whether the variants have different values.
    """

    path: tuple[str, ...]
    file: str
    find: Finder | Nth | Key
    only: str = ""
    differs: bool = False
