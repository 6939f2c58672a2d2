"""What calibration tells about the inputs of one matrix, gathered batch by batch."""

from __future__ import annotations

import math
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
    _sizes: Tensor | None = None

    def add(self, inputs: Tensor) -> None:
        """Adds a batch of inputs `[..., in]`."""
        rows = inputs.reshape(-1, self.columns).float()
        if self._sum is None:
            self._sum = torch.zeros(self.columns, self.columns, device=self.device)
            self._sizes = torch.zeros(self.columns, device=self.device)
        self._sum.addmm_(rows.T, rows)
        self._sizes = self._sizes + rows.abs().sum(0)
        self.tokens += rows.shape[0]

    @property
    def hessian(self) -> Tensor:
        """A fresh copy, for routines that work in place."""
        return self._total() * (2 / self.tokens)

    @property
    def column_norms(self) -> Tensor:
        """||X_j||_2 of every input column over all tokens, `[in]` (Wanda, equation 1)."""
        return self._total().diagonal().clamp(min=0).sqrt()

    @property
    def mean_size(self) -> Tensor:
        """Mean |X_j| of every input column over all tokens, `[in]` (AWQ, section 3.2)."""
        if self._sizes is None:
            raise ValueError("no inputs were seen")
        return self._sizes / self.tokens

    def squared_error(self, change: Tensor) -> float:
        """||dW X||_F^2 per token, for a change of the weights `[out, in]`."""
        return float(((change @ self._total()) * change).sum().clamp(min=0)) / self.tokens

    def output_error(self, before: Tensor, after: Tensor) -> float:
        """||(W' - W) X||_F / ||W X||_F, from second moments alone."""
        kept = self.squared_error(before)
        return math.sqrt(self.squared_error(after - before) / kept) if kept > 0 else 0.0

    def _total(self) -> Tensor:
        if self._sum is None:
            raise ValueError("no inputs were seen")
        return self._sum
