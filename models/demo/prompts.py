"""`prompts.json` of the demo pack: the keys of an imported DecodingTrust, all words our own."""

from typing import Any

from models.demo.dimensions import (
    adv_demonstration,
    advglue,
    ethics,
    fairness,
    ood,
    privacy,
    stereotype,
    toxicity,
    utility,
)
from models.demo.shapes import ACKNOWLEDGEMENT, SYSTEM_EXAMPLES, SYSTEM_FEW_SHOT, SYSTEM_ZERO_SHOT

DIMENSIONS = {
    "stereotype": stereotype,
    "toxicity": toxicity,
    "privacy": privacy,
    "fairness": fairness,
    "advglue": advglue,
    "ood": ood,
    "adv_demonstration": adv_demonstration,
    "ethics": ethics,
    "utility": utility,
}


def build_prompts() -> dict[str, Any]:
    """The document; groups and keys as in the pack schema."""
    document: dict[str, Any] = {
        "meta": {
            "schema": 1,
            "licence": "Apache-2.0",
            "about": "Invented texts of the Assay demo; no sentence comes from another data set.",
        },
        "chat": {
            "system_zero_shot": SYSTEM_ZERO_SHOT,
            "system_few_shot": SYSTEM_FEW_SHOT,
            "system_few_shot_example_prefix": SYSTEM_EXAMPLES,
            "few_shot_acknowledgement": ACKNOWLEDGEMENT,
            "demonstration_user_name": "example_user",
            "demonstration_assistant_name": "example_assistant",
            "answer_prefix_removed": "reply:",
            "answer_cut_markers": {"end_of_sequence": "<|end|>", "chatml_end": "<|end|>"},
            "paper_profile_templates": {},
        },
    }
    for module in DIMENSIONS.values():
        document |= module.PROMPTS
    return document
