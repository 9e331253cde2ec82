"""A raise is never wrong: changed attentions are raised with attributes that reproduce their own outputs, or not at all.

Every equation of an attention, and of the index arithmetic that it needs, is changed in every way that ``mutants`` lists. What
a changed attention does is seen by running it on random q, k and v token by token, from an empty cache; what was raised of it
is held against that by attention in float64 over the same keys and values.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from partitioner.frontend import TracedPhase
from partitioner.ir.layout import from_layout
from partitioner.ir.op import Attention
from partitioner.jaxpr import dtype_of, needed_for, shape_of, variables
from partitioner.passes.raise_attention import raise_decode_attention
from partitioner.passes.run_region import index_inputs, runnable
from partitioner.passes.split_equations import split_equations
from partitioner.passes.validate_attention import CACHE_ROLES, NEW_ROLES, QUERY_ROLES
from tests.partitioner.passes.attribute_spellings import ATTRIBUTE_SPELLINGS
from tests.partitioner.passes.mutants import mutants_of
from tests.partitioner.passes.spellings import SPELLINGS
from tests.partitioner.passes.traces import decode_of, no_trace
from tests.runtime.csd.reference import attention as reference

BATCH, SLOTS = 3, 14
SUBJECTS = {
    name: (SPELLINGS | ATTRIBUTE_SPELLINGS)[name]
    for name in ("matmul_heads_first", "bias_in_groups", "capped_window", "select_update")
}
"""A softmax written out; grouped heads with slopes; a cap and a window of 5 tokens; a cache that is selected into."""
STRIDE = {"matmul_heads_first": 2, "bias_in_groups": 5, "capped_window": 3, "select_update": 2}
"""One in so many changes is tried; all of them take minutes, and were seen to pass."""
TOLERANCE = {False: 2e-4, True: 3e-2}
"""Relative to the largest output: float32 over 14 tokens; and where something was rounded to bfloat16 on the way."""


def own_steps(phase: TracedPhase, attention: Attention) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields q, the new k and v, and the output of a step at every position, each from the caches that the one before left."""
    generator = np.random.default_rng(0)
    before = {i.name: i.var for i in phase.inputs if i.role == "cache"}
    after = {before[o.name]: o.atom for o in phase.outputs if o.role == "cache"}
    drawn = [attention.query, attention.new_key, attention.new_value]
    others = [e for e in phase.equations if not set(e.outvars) & set(drawn)]
    needed = needed_for(others, [attention.output, *variables(after.values())])
    index = [i.var for i in phase.inputs if i.role in ("token", "position", "mask", "const")]
    run = runnable(needed, [*drawn, *index, *before.values()], [attention.output, *after.values()])
    caches = [np.zeros(shape_of(v), dtype_of(v)) for v in before.values()]
    for position in range(SLOTS):
        env = index_inputs(phase, np.full(phase.batch_size, position))
        operands = [(2 * generator.standard_normal(shape_of(v))).astype(dtype_of(v)) for v in drawn]
        output, *caches = run([*operands, *(env[v] for v in index), *caches])
        yield tuple(x.astype(np.float32) for x in (*operands, output))


def largest_error(phase: TracedPhase, attention: Attention) -> float:
    """Returns by how much the outputs of all steps differ from attention by what was raised, relative to the largest one."""
    a = attention
    sizes: Any = {"batch": phase.batch_size, "kv_head": a.num_kv_heads, "group": a.group_size}
    sizes |= {"head_size": a.head_size, "token": SLOTS}
    caches = [np.zeros([sizes[r] for r in CACHE_ROLES], np.float32) for _ in range(2)]
    worst, largest = 0.0, 1e-6
    for position, (query, key, value, output) in enumerate(own_steps(phase, a)):
        for cache, new in zip(caches, (key, value), strict=True):
            cache[:, :, position] = from_layout(new, a.new_layout, NEW_ROLES, sizes)
        queries = from_layout(query, a.query_layout, QUERY_ROLES, sizes).reshape(-1, a.num_heads, a.head_size)
        lengths = np.full(phase.batch_size, position + 1)
        slopes = None if a.slopes is None else np.array(a.slopes)
        expected = reference(queries, *caches, lengths, a.scale, a.soft_cap, a.window, slopes)
        got = from_layout(output, a.output_layout, QUERY_ROLES, sizes).reshape(expected.shape)
        worst = max(worst, float(np.abs(got - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    return worst / largest


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_raised_of_a_changed_attention_is_what_it_does(name: str) -> None:
    original, _ = raise_decode_attention(*decode_of(SUBJECTS[name], BATCH, SLOTS), no_trace)
    wrong, changed, refused = {}, 0, 0
    mutants = list(mutants_of(name, decode_of(SUBJECTS[name], BATCH, SLOTS)[0]))[:: STRIDE[name]]
    for mutant in mutants:
        found, _ = raise_decode_attention(mutant.phase, split_equations(mutant.phase), no_trace)
        if not found:
            refused += 1
            continue
        attention = found[0].attention
        changed += rule(attention) != rule(original[0].attention)
        error = largest_error(mutant.phase, attention)
        if not error <= TOLERANCE[mutant.is_narrowed]:
            wrong[mutant.name] = f"{error:.2g} off {attention}"
    assert wrong == {}
    assert len(mutants) >= 20
    # some do no harm, some are attentions by another rule, and some are none
    assert refused >= 5
    assert changed >= 1
    assert len(mutants) - refused - changed >= 5


def rule(attention: Attention) -> tuple[Any, ...]:
    slopes = attention.slopes and tuple(round(s, 5) for s in attention.slopes)
    return round(attention.scale, 6), attention.soft_cap, attention.window, slopes, attention.query_layout


def test_the_oracle_sees_what_is_wrong() -> None:
    """Each attribute, raised as anything else than what the attention does, is seen."""
    for name, change in {
        "capped_window": {"window": 6, "soft_cap": 15.0},
        "bias_in_groups": {"slopes": (0.1,) * 6, "scale": 0.4},
    }.items():
        phase, split = decode_of(SUBJECTS[name], BATCH, SLOTS)
        attention = raise_decode_attention(phase, split, no_trace)[0][0].attention
        assert largest_error(phase, attention) < TOLERANCE[False]
        for field, value in change.items():
            assert largest_error(phase, dataclasses.replace(attention, **{field: value})) > 0.01
