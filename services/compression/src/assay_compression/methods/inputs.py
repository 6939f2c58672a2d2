"""What calibration tells about the inputs of one matrix, gathered batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class InputStatistics:
    """Second moments of the inputs x of a linear layer y = W x.

    Attributes:
        hessian: 2/N sum x x^T, `[in, in]` float32: the Hessian of ||W x - W' x||^2 in each row of
            W' (GPTQ, equation 2; SparseGPT, section 3), N counting tokens.
        tokens: Number of inputs seen.
    """

    columns: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    tokens: int = 0
    _sum: Tensor | None = None

    def add(self, inputs: Tensor) -> None:
        """Adds a batch of inputs `[..., in]`."""
        rows = inputs.reshape(-1, self.columns).float()
        if self._sum is None:
            self._sum = torch.zeros(self.columns, self.columns, device=self.device)
        self._sum.addmm_(rows.T, rows)
        self.tokens += rows.shape[0]

    @property
    def hessian(self) -> Tensor:
        """A fresh copy, for routines that work in place."""
        return self._total() * (2 / self.tokens)

    @property
    def column_norms(self) -> Tensor:
        """||X_j||_2 of every input column over all tokens, `[in]` (Wanda, equation 1)."""
        return self._total().diagonal().clamp(min=0).sqrt()

    def output_error(self, before: Tensor, after: Tensor) -> float:
        """||(W' - W) X||_F / ||W X||_F, from second moments alone."""
        total = self._total()
        change = after - before
        lost = ((change @ total) * change).sum().clamp(min=0)
        kept = ((before @ total) * before).sum()
        return float((lost / kept).sqrt()) if kept > 0 else 0.0

    def _total(self) -> Tensor:
        if self._sum is None:
            raise ValueError("no inputs were seen")
        return self._sum
