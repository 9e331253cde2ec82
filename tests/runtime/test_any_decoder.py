"""Any decoder is taken in: every layer is raised, runs on the drive, and gives the tokens of plain jit.

A decoder that is added here is a line in a table. Prompts differ in length, as those of a batch that is padded do. That layers
are raised is checked besides the tokens, since one that stays plain ops gives the same.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np
import pytest

from partitioner import Workload, partition
from partitioner.frontend import StepFunction, adapt
from runtime import Session
from tests.partitioner.passes.flax_spellings import FLAX_SPELLINGS
from tests.partitioner.passes.spellings import SPELLINGS, Spelling
from tests.partitioner.small_models import NUM_LAYERS, MhaDecoder
from tests.partitioner.stacked_decoders import LAYERS, STACKED
from tests.runtime.tiny_models import demo_hardware, plain_run

HEALTHY_MARGIN = 1e-3
PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 12], [13]]
WORKLOAD = Workload(batch_size=3, prompt_len=6, decode_len=6)


def valued(spelling: Spelling) -> Callable[[], StepFunction]:
    """Returns what makes a spelling's decoder with random parameters."""

    def make() -> StepFunction:
        function = spelling.decoder()
        leaves, structure = jax.tree.flatten(function.params)
        generator = np.random.default_rng(3)
        drawn = [1.5 * generator.standard_normal(x.shape) * x.shape[0] ** -0.5 for x in leaves]
        values = [a.astype(x.dtype) for a, x in zip(drawn, leaves, strict=True)]
        return dataclasses.replace(function, params=structure.unflatten(values))

    return make


DECODERS: dict[str, tuple[Callable[[], StepFunction], int]] = {
    **{name: (valued(s), 1) for name, s in {**SPELLINGS, **FLAX_SPELLINGS}.items()},
    **{name: (make, LAYERS) for name, make in STACKED.items()},
    "nnx.MultiHeadAttention": (lambda: adapt(MhaDecoder()), NUM_LAYERS),
}
"""What makes a decoder, and its layers."""


@pytest.mark.parametrize("name", DECODERS)
def test_every_layer_is_raised_and_tokens_are_those_of_plain_jit(name: str) -> None:
    make, num_layers = DECODERS[name]
    function = make()
    plan = partition(function, demo_hardware(), WORKLOAD, "instinfer")
    assert plan.decode.graph.unraised == ()
    attentions = [op.name for op in plan.ops("decode") if op.kind == "attention"]
    assert len(attentions) == num_layers
    assert all(plan.device_of("decode", op) == {"csd0": 1.0} for op in attentions)
    expected = plain_run(function, PROMPTS, WORKLOAD.decode_len, WORKLOAD.max_len)
    assert expected.margin > HEALTHY_MARGIN
    with Session(plan, function, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=WORKLOAD.decode_len)
    assert result.tokens == expected.tokens
    assert result.drive_health["csd0"].bytes_written_by_host > 0


@pytest.mark.parametrize("name", ["scalar_cursor", "padded_on_the_left"])
def test_a_model_that_counts_one_position_for_all_rows_runs_rows_apart_on_a_processor(name: str) -> None:
    """Where no drive attends, the model's own equations do: with a slot for all rows, short prompts would see padding."""
    function = DECODERS[name][0]()
    plan = partition(function, demo_hardware(), WORKLOAD, "gpu-only")
    with Session(plan, function, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=WORKLOAD.decode_len)
    assert result.tokens == plain_run(function, PROMPTS, WORKLOAD.decode_len, WORKLOAD.max_len).tokens
