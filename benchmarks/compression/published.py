"""Perplexities of Llama-2-7B on WikiText-2 as the papers print them.

Read for this table: the README of locuslab/wanda (context 4096, C4 calibration, 128 samples).
Remembered and not read again: Table 4 of AWQ (Lin et al., 2023; context 2048, groups of 128), which
has its round-to-nearest and GPTQ numbers as well; the table marks them with a question mark. The
two sources differ in context, hence in their dense value.
"""

from __future__ import annotations

WANDA_README = "https://github.com/locuslab/wanda#pruning-llama-2"
AWQ_PAPER = "https://arxiv.org/abs/2306.00978"

# Label without its group: dense value beside it, value, whether it was read from the source.
PUBLISHED: dict[str, tuple[float, float, bool]] = {
    "magnitude-50%": (5.12, 14.89, True),
    "sparsegpt-50%": (5.12, 6.51, True),
    "wanda-50%": (5.12, 6.42, True),
    "magnitude-4:8": (5.12, 16.48, True),
    "sparsegpt-4:8": (5.12, 8.12, True),
    "wanda-4:8": (5.12, 7.97, True),
    "magnitude-2:4": (5.12, 54.59, True),
    "sparsegpt-2:4": (5.12, 10.17, True),
    "wanda-2:4": (5.12, 11.02, True),
    "rtn-4bit": (5.47, 5.73, False),
    "rtn-3bit": (5.47, 6.66, False),
    "gptq-4bit": (5.47, 5.69, False),
    "gptq-3bit": (5.47, 6.43, False),
    "awq-4bit": (5.47, 5.60, False),
    "awq-3bit": (5.47, 6.24, False),
}


def cell(label: str) -> str:
    """`5.12 -> 6.42`, with a question mark where the number was not read from its source."""
    key = label.removesuffix("-g128")
    if key not in PUBLISHED:
        return ""
    dense, value, is_read = PUBLISHED[key]
    return f"{dense:.2f} → {value:.2f}{'' if is_read else ' ?'}"
