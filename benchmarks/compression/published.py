"""Perplexities of Llama-2-7B on WikiText-2 as the papers print them, with where each was read.

Pruning: the table of locuslab/wanda's README (context 4096, C4 calibration, 128 samples).
Quantization: Table 4 of AWQ (Lin et al., 2023; groups of 128), which has round-to-nearest and GPTQ
(without reordering) as well. The two differ in context, hence in their dense value.
"""

from __future__ import annotations

WANDA_README = "https://github.com/locuslab/wanda#pruning-llama-2"
AWQ_PAPER = "https://arxiv.org/abs/2306.00978"

# Label without its group: dense value beside it, value.
PUBLISHED: dict[str, tuple[float, float]] = {
    "magnitude-50%": (5.12, 14.89),
    "sparsegpt-50%": (5.12, 6.51),
    "wanda-50%": (5.12, 6.42),
    "magnitude-4:8": (5.12, 16.48),
    "sparsegpt-4:8": (5.12, 8.12),
    "wanda-4:8": (5.12, 7.97),
    "magnitude-2:4": (5.12, 54.59),
    "sparsegpt-2:4": (5.12, 10.17),
    "wanda-2:4": (5.12, 11.02),
    "rtn-4bit": (5.47, 5.73),
    "rtn-3bit": (5.47, 6.66),
    "gptq-4bit": (5.47, 5.69),
    "gptq-3bit": (5.47, 6.43),
    "awq-4bit": (5.47, 5.60),
    "awq-3bit": (5.47, 6.24),
}


def cell(label: str) -> str:
    """`5.12 → 6.42`; empty where nothing is published."""
    found = PUBLISHED.get(label.removesuffix("-g128"))
    return f"{found[0]:.2f} → {found[1]:.2f}" if found else ""
