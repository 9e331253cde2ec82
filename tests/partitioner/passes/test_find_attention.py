"""Attention regions are found by dataflow: the cache updates, both contractions, and what lies between."""

import pytest

from partitioner.ir.graph import Unraised
from partitioner.jaxpr import borders, variables
from partitioner.passes.find_attention import find_attention
from partitioner.passes.find_cache_writes import CacheWrite, find_cache_writes
from tests.partitioner.passes.golden import assert_golden
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import SPELLINGS
from tests.partitioner.passes.traces import decode_of, prefill_of, region_of, show_equations


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_region_reads_queries_new_entries_caches_and_index_arithmetic_alone(name: str) -> None:
    region = region_of(SPELLINGS[name])
    _, split = decode_of(SPELLINGS[name])
    data = {v for v in borders(region.equations) if v not in split.index_vars}
    assert data == {
        region.query,
        region.key.new,
        region.value.new,
        region.key.before,
        region.value.before,
    }


@pytest.mark.parametrize("name", SPELLINGS)
def test_nothing_but_the_output_and_the_caches_leaves_a_region(name: str) -> None:
    region = region_of(SPELLINGS[name])
    phase, _ = decode_of(SPELLINGS[name])
    members = {id(e) for e in region.equations}
    made = {v for e in region.equations for v in e.outvars}
    read_outside = {v for e in phase.equations if id(e) not in members for v in variables(e.invars)}
    assert made & read_outside == {region.output}
    assert made & {o.atom for o in phase.outputs} == {region.key.after, region.value.after}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_region_is_in_execution_order_and_has_the_contractions_of_its_caches(name: str) -> None:
    region = region_of(SPELLINGS[name])
    phase, _ = decode_of(SPELLINGS[name])
    position = {id(e): i for i, e in enumerate(phase.equations)}
    order = [position[id(e)] for e in region.equations]
    assert order == sorted(set(order))
    assert (region.key.name, region.value.name) == ("k", "v")
    contractions = [e for e in region.equations if e.primitive.name == "dot_general"]
    assert contractions == [region.key.contraction, region.value.contraction]
    assert region.query in region.key.contraction.invars
    assert region.output in region.value.contraction.outvars


def test_the_equations_of_a_region() -> None:
    rows = []
    for name in ("einsum_slots_first", "select_update", "scalar_cursor"):
        region = region_of(SPELLINGS[name])
        rows += [name, *(f"  {row}" for row in show_equations(region.equations))]
    assert_golden("regions", "\n".join(rows))


def test_a_prefill_that_attends_to_what_it_makes_has_writes_and_no_region() -> None:
    phase, split = prefill_of(SPELLINGS["fresh_in_prefill"])
    regions, unraised = find_attention(phase, split)
    assert regions == ()
    nothing_reads_it = "the updated cache enters 0 contractions (dot_general), expected one"
    assert {u.reason for u in unraised} == {nothing_reads_it}
    assert all(isinstance(w, CacheWrite) for w in find_cache_writes(phase, split))


def test_two_contractions_that_do_not_meet_are_reported_for_both_caches() -> None:
    assert find_attention(*decode_of(NEAR_MISSES["unrelated_contractions"])) == (
        (),
        tuple(
            Unraised(
                n, "its contraction neither leads to, nor follows from, a contraction with another cache"
            )
            for n in ("k", "v")
        ),
    )


def test_a_region_that_reads_more_is_reported_once() -> None:
    regions, unraised = find_attention(*decode_of(NEAR_MISSES["learned_bias"]))
    assert regions == ()
    assert [u.name for u in unraised] == ["k"]
