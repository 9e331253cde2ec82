"""Regions of attention that repeat earlier ones have the forms that looking through each of them gives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from partitioner.equation_forms import EquationForms
from partitioner.equation_repeats import NOTHING
from partitioner.frontend import TracedPhase, trace_phase
from partitioner.passes.raise_attention import raise_decode_attention
from partitioner.passes.split_equations import split_equations
from tests.partitioner.passes.spellings import from_table, layered
from tests.partitioner.passes.traces import no_trace
from tests.partitioner.small_models import LLAMA, OPT, abstract_transformer, traced

LAYERS = 9
SLOTS = 16


def raised(
    phase: TracedPhase, trace: Callable[[int, int], TracedPhase] = no_trace, *, repeated: bool = True
) -> list[tuple[Any, ...]]:
    """Returns what tells the attentions of a phase apart."""
    split = split_equations(phase)
    if not repeated:
        vars(split)["repeats"] = NOTHING
    found, unraised = raise_decode_attention(phase, split, trace)
    assert unraised == ()
    return [(r.attention.key_cache, r.attention.window, r.attention.scale, r.equations) for r in found]


MODELS = {
    "learned positions": OPT.replace(num_layers=LAYERS),
    "rotary": LLAMA.replace(num_layers=LAYERS),
}


def decode_of(name: str) -> tuple[TracedPhase, Callable[[int, int], TracedPhase]]:
    """Returns a model's decode, and what traces it at other sizes."""
    model = traced(abstract_transformer(MODELS[name]))
    return model.graphs[-1].phase, lambda rows, slots: model.tracer("decode", rows, 1, slots)


@pytest.mark.parametrize("name", MODELS)
def test_repeated_regions_are_raised_as_all_others(name: str) -> None:
    phase, trace = decode_of(name)
    found = raised(phase, trace)
    assert len(found) == LAYERS
    assert found == raised(phase, trace, repeated=False)


@pytest.mark.parametrize("name", MODELS)
def test_most_regions_are_not_looked_through(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (phase, trace), looked = decode_of(name), [0]
    signature = EquationForms.signature

    def counted(self: EquationForms, *given: Any) -> Any:
        looked[0] += 1
        return signature(self, *given)

    monkeypatch.setattr(EquationForms, "signature", counted)
    raised(phase, trace)
    few, looked[0] = looked[0], 0
    raised(phase, trace, repeated=False)
    assert few <= looked[0] - LAYERS // 2


@pytest.mark.parametrize("other", [4, 6, LAYERS - 1])
def test_a_layer_that_differs_in_an_array_alone_is_told_apart(other: int) -> None:
    """Its equations repeat those of the layers before, and so does what they read, but for its numbers."""
    causal = np.tril(np.ones((SLOTS, SLOTS), bool))
    window = causal & ~np.tril(np.ones((SLOTS, SLOTS), bool), -3)
    masks = [from_table(window if n == other else causal) for n in range(LAYERS)]
    phase = trace_phase(layered(masks, alike=True), "decode", batch_size=2, chunk=1, max_len=SLOTS)
    assert split_equations(phase).repeats != NOTHING
    windows = [kept for _, kept, _, _ in raised(phase)]
    assert windows == [3 if n == other else None for n in range(LAYERS)]
