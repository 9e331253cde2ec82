"""How an attention makes weights of q.K^T: the rule that a raise finds, and its reference arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class ValidationError(Exception):
    """Says how a region differs from attention; the region is then left as it was."""


@dataclass(frozen=True)
class LogitRule:
    """Gives the weights of the token at a position: softmax(cap(scale * q.K^T) - slope * (position - slot)) over its window.

    Attributes:
        scale: Factor on q.K^T.
        soft_cap: c of ``c * tanh(x / c)``, through which scaled products go; None for none (Gemma 2, arXiv 2408.00118).
        slopes: One per query head, KV head major (ALiBi, Press et al. 2022, arXiv 2108.12409); None where no head has a bias.
        window: Newest tokens that are seen, the own one included (Mistral 7B, arXiv 2310.06825); None for all.
    """

    scale: float
    soft_cap: float | None = None
    slopes: tuple[float, ...] | None = None
    window: int | None = None

    def capped(self, products: np.ndarray) -> np.ndarray:
        """Returns scaled and capped products, float64."""
        scaled = self.scale * np.asarray(products, np.float64)
        return scaled if self.soft_cap is None else self.soft_cap * np.tanh(scaled / self.soft_cap)

    def seen(self, position: np.ndarray, num_slots: int) -> np.ndarray:
        """Returns which slots a token sees, bool ``[..., slots]``.

        Args:
            position: Integer ``[..., 1]``.
            num_slots: Slots.
        """
        slots = np.arange(num_slots)
        seen = slots <= position
        return seen if self.window is None else seen & (slots > position - self.window)

    def weights(
        self, products: np.ndarray, position: np.ndarray, slopes: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns weights, float64 ``[..., slots]``, that sum to 1.

        Args:
            products: q.K^T, ``[..., slots]``.
            position: Integer ``[..., 1]``.
            slopes: ``[..., 1]``; None: no bias.
        """
        num_slots = products.shape[-1]
        logits = self.capped(products)
        if slopes is not None:
            logits = logits - slopes * (position - np.arange(num_slots))
        logits = np.where(self.seen(position, num_slots), logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True)

    def __str__(self) -> str:
        inner = f"{self.scale:.6g} q.K^T"
        if self.soft_cap is not None:
            inner = f"{self.soft_cap:g} tanh({inner} / {self.soft_cap:g})"
        if self.slopes is not None:
            inner += " - slope * distance"
        tokens = "the valid tokens" if self.window is None else f"the newest {self.window} tokens"
        return f"softmax({inner}).V over {tokens}"
