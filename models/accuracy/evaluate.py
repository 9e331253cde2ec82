"""Evaluation of ways to attend on excerpts of text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jax import numpy as jnp

from models.accuracy.decode_layer import AttentionMethod
from models.accuracy.exact import Exact
from models.accuracy.excerpts import Excerpt
from models.accuracy.page_shape import PageShape
from models.accuracy.teacher_forced import Decoded, Predicted, decode, predict, prefill
from models.transformer import Transformer

Layers = tuple[AttentionMethod, ...]
"""A method for each layer."""

EXACT = "exact"
"""Name of exact attention among the results."""

Report = Callable[[str, int, int], None]
"""Called with a stage, the steps done and those in all."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """One way to attend on all excerpts; arrays are float64 ``[excerpts]``.

    Attributes:
        bits: Bits per predicted token.
        exact_bits: The same with exact attention.
        agreement: Share of tokens that are likeliest here and with exact attention.
        entries: Elements of K and V read, relative to exact attention.
        pages: Flash pages read, relative to exact attention; None where no drive attends so.
    """

    bits: np.ndarray
    exact_bits: np.ndarray
    agreement: np.ndarray
    entries: np.ndarray
    pages: np.ndarray | None

    @property
    def loss(self) -> float:
        """Bits per token lost against exact attention, relative to its own; negative where it gains."""
        return float((self.bits - self.exact_bits).mean() / self.exact_bits.mean())

    @property
    def loss_error(self) -> float:
        """Standard error of the loss, from how much it differs between excerpts; infinite for one excerpt."""
        count = len(self.bits)
        if count < 2:
            return float("inf")
        lost = self.bits - self.exact_bits
        return float(lost.std(ddof=1) / count**0.5 / self.exact_bits.mean())


class _Outcome(NamedTuple):
    """One way on one excerpt: mean bits, likeliest tokens, and what all layers read."""

    bits: float
    likeliest: np.ndarray
    elements: float
    pages: float | None


def evaluate(
    model: Transformer,
    excerpts: Sequence[Excerpt],
    ways: Mapping[str, Layers],
    *,
    prompt_len: int,
    shape: PageShape,
    report: Report = lambda stage, done, total: None,
) -> dict[str, Evaluated]:
    """Evaluates ways to attend; exact attention, which they are held against, is one of the results, under :data:`EXACT`.

    Args:
        model: The model.
        excerpts: Texts, equally long.
        ways: By name, a method for each layer.
        prompt_len: First tokens of every excerpt, which attend exactly and are not counted.
        shape: How K and V lie in flash.
        report: Told of every finished way on every excerpt.
    """
    every = {EXACT: (Exact(shape),) * len(model.blocks), **ways}
    outcomes: dict[str, list[_Outcome]] = {name: [] for name in every}
    for number, excerpt in enumerate(excerpts):
        inputs, targets = jnp.asarray(excerpt.tokens[None, :-1]), excerpt.tokens[None, prompt_len + 1 :]
        prompt = prefill(model, inputs[:, :prompt_len])
        for place, (name, layers) in enumerate(every.items()):
            decoded = decode(model, prompt, inputs[:, prompt_len:], layers)
            outcomes[name].append(_outcome(decoded, predict(model, decoded, targets)))
            report("text", number * len(every) + place + 1, len(excerpts) * len(every))
    return {name: _evaluated(rows, outcomes[EXACT]) for name, rows in outcomes.items()}


def _outcome(decoded: Decoded, predicted: Predicted) -> _Outcome:
    layers = [None if reads.pages is None else float(reads.pages.sum()) for reads in decoded.reads]
    counted = [pages for pages in layers if pages is not None]
    return _Outcome(
        float(predicted.bits.mean()),
        predicted.likeliest,
        sum(float(reads.elements.sum()) for reads in decoded.reads),
        sum(counted) if len(counted) == len(layers) else None,
    )


def _evaluated(rows: Sequence[_Outcome], exact: Sequence[_Outcome]) -> Evaluated:
    pairs = list(zip(rows, exact, strict=True))
    pages = [row.pages / dense.pages for row, dense in pairs if row.pages is not None and dense.pages]
    return Evaluated(
        bits=np.array([row.bits for row in rows]),
        exact_bits=np.array([dense.bits for dense in exact]),
        agreement=np.array([np.mean(row.likeliest == dense.likeliest) for row, dense in pairs]),
        entries=np.array([row.elements / dense.elements for row, dense in pairs]),
        pages=np.array(pages) if len(pages) == len(pairs) else None,
    )
