"""Muon in float32: torch's own runs its Newton-Schulz steps in bfloat16, slow on a plain CPU.

Keller Jordan, "Muon: an optimizer for hidden layers" (2024). A momentum update is replaced by the
nearest semi-orthogonal matrix, which lets rare facts weigh as much as common ones.
"""

from collections.abc import Sequence

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalize(update: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Quintic Newton-Schulz towards U V^T of `update` = U S V^T; [rows, columns] in and out."""
    a, b, c = _COEFFICIENTS
    wide = update.T if update.shape[0] > update.shape[1] else update
    x = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if update.shape[0] > update.shape[1] else x


class Muon:
    """Momentum, orthogonalized, scaled to the size of an AdamW step, with decoupled decay.

    Args:
        matrices: Weights of two dimensions.
        momentum: Of the gradient's running mean (Nesterov form).
        decay: Weight decay per step, as a share of the rate.
    """

    def __init__(
        self, matrices: Sequence[torch.Tensor], momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        self._matrices = matrices
        self._momentum = momentum
        self._decay = decay
        self._means = [torch.zeros_like(matrix) for matrix in matrices]

    def step(self, rate: float) -> None:
        """Update every matrix once from its gradient, and drop the gradient."""
        with torch.no_grad():
            for matrix, mean in zip(self._matrices, self._means, strict=True):
                if matrix.grad is None:
                    continue
                mean.lerp_(matrix.grad, 1 - self._momentum)
                update = orthogonalize(matrix.grad.lerp(mean, self._momentum))
                matrix.mul_(1 - rate * self._decay)
                matrix.add_(update, alpha=-rate * 0.2 * max(matrix.shape) ** 0.5)
                matrix.grad = None
