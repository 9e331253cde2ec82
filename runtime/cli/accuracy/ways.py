"""Ways to attend by name and ratio: the table of methods."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from cost_models import FlashSpec, HardwareSpec
from models import TransformerConfig
from models.accuracy.decode_layer import AttentionMethod
from models.accuracy.evaluate import EXACT
from models.accuracy.exact import Exact
from models.accuracy.h2o import H2O
from models.accuracy.page_shape import PageShape
from models.accuracy.sparf import SparFAttention
from models.accuracy.sparq import SparQ
from models.accuracy.window import SINKS, Window
from partitioner import SparF, Workload
from partitioner.drive_cache import best_channel_group
from runtime.cli.one_line_errors import ArgumentError

FLASH_OF = "a6000-csd"
"""Preset whose drive's pages are counted: InstInfer's, of 4 KiB."""


@dataclass(frozen=True)
class FlashPages:
    """Says how a model's cache lies in flash pages.

    Attributes:
        config: The model.
        prompt_len: Tokens of a prompt.
        context: Tokens in all.
    """

    config: TransformerConfig
    prompt_len: int
    context: int

    def of(self, sparsity: SparF | None) -> PageShape:
        """Returns the shape with the channels per page that a plan would take."""
        flash = self._flash
        head_size, element_bytes = self.config.head_size, np.dtype(self.config.kv_dtype).itemsize
        group = None
        if sparsity is not None:
            load = Workload(1, self.prompt_len, self.context - self.prompt_len)
            contexts = load.decode_contexts(with_prefill=True)
            group = best_channel_group(flash, head_size, element_bytes, (sparsity,), contexts)
        return PageShape.of(flash.page_bytes, head_size, element_bytes, group or 1)

    @cached_property
    def _flash(self) -> FlashSpec:
        return HardwareSpec.load(FLASH_OF).drives[0].flash


def sparf_at(compression: float, pages: FlashPages) -> SparFAttention:
    """Returns SparF that reads one over ``compression`` of the entries of K and V."""
    sparsity = SparF.ratio(compression)
    return SparFAttention(sparsity, pages.of(sparsity))


METHODS: Mapping[str, Callable[[float, FlashPages], AttentionMethod]] = {
    EXACT: lambda compression, pages: Exact(pages.of(None)),
    "sparf": sparf_at,
    "sparq": lambda compression, pages: SparQ(compression),
    "window": lambda compression, pages: Window(compression),
    "streaming": lambda compression, pages: Window(compression, SINKS),
    "h2o": lambda compression, pages: H2O(compression),
}


@dataclass(frozen=True)
class Way:
    """One method at one ratio.

    Attributes:
        method: Name in the table of methods.
        ratio: Share of the entries of K and V that is read: ``1/8``.
        attention: The method.
    """

    method: str
    ratio: str
    attention: AttentionMethod

    @property
    def name(self) -> str:
        """Returns ``sparf 1/8``, or ``exact``."""
        return EXACT if self.method == EXACT else f"{self.method} {self.ratio}"


def ways_of(methods: str, ratios: str, pages: FlashPages) -> tuple[Way, ...]:
    """Returns every method at every ratio below 1, exact attention first.

    Args:
        methods: Names, separated by commas.
        ratios: Ratios such as ``1,1/2,1/8``; 1 stands for exact attention, which is always there.
        pages: How the cache lies in flash.

    Raises:
        ArgumentError: A name is unknown, or a ratio has another form.
    """
    compressions = _compressions(ratios)
    found = [Way(EXACT, "1", METHODS[EXACT](1.0, pages))]
    for name in _names(methods):
        if name != EXACT:
            found += [
                Way(name, text, METHODS[name](compression, pages))
                for text, compression in compressions.items()
            ]
    return tuple(found)


def _names(methods: str) -> Sequence[str]:
    names = list(dict.fromkeys(name.strip() for name in methods.split(",") if name.strip()))
    for name in names:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(METHODS)}"
            raise ArgumentError(f"--methods has no method {name!r}; {hint}")
    return names


def _compressions(ratios: str) -> dict[str, float]:
    """Returns the ratios below 1 and their inverses, the largest ratio first."""
    found: dict[Fraction, str] = {}
    for text in (part.strip() for part in ratios.split(",") if part.strip()):
        try:
            ratio = Fraction(text)
        except (ValueError, ZeroDivisionError):
            ratio = Fraction(0)
        if not 0 < ratio <= 1:
            raise ArgumentError(
                f"--ratios: {text!r} is not accepted; give shares of at most 1, such as 1,1/2,1/8"
            )
        found[ratio] = text
    return {found[ratio]: float(1 / ratio) for ratio in sorted(found, reverse=True) if ratio < 1}
