"""A cache is followed from the input of its name to the output, through one update."""

import pytest

from partitioner.ir.graph import Unraised
from partitioner.jaxpr import shape_of
from partitioner.passes.find_cache_writes import CacheWrite, find_cache_writes
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import SPELLINGS
from tests.partitioner.passes.traces import PROMPT, decode_of, prefill_of

UPDATES = {
    "einsum_slots_first": ["scatter"],
    "scalar_cursor": ["dynamic_update_slice"],
    "scatter_update": ["scatter"],
    "select_update": ["broadcast_in_dim", "select_n"],
}


@pytest.mark.parametrize("name", UPDATES)
def test_any_update_is_followed(name: str) -> None:
    """A dynamic_update_slice that every row has at its own position is a scatter."""
    for write in find_cache_writes(*decode_of(SPELLINGS[name])):
        assert isinstance(write, CacheWrite)
        assert [e.primitive.name for e in write.update] == UPDATES[name]


def test_caches_are_followed_from_input_to_output() -> None:
    phase, split = decode_of(SPELLINGS["einsum_slots_first"])
    writes = find_cache_writes(phase, split)
    assert all(isinstance(w, CacheWrite) for w in writes)
    given = {i.name: i.var for i in phase.inputs if i.role == "cache"}
    returned = {o.name: o.atom for o in phase.outputs if o.role == "cache"}
    assert {w.name: (w.before, w.after) for w in writes if isinstance(w, CacheWrite)} == {
        n: (given[n], returned[n]) for n in ("k", "v")
    }


def test_a_broadcast_new_entry_is_followed_to_what_was_made() -> None:
    """A select needs the new entry at every slot; what has to be stored is one token."""
    write = find_cache_writes(*decode_of(SPELLINGS["select_update"]))[0]
    assert isinstance(write, CacheWrite)
    assert shape_of(write.new) == (2, 1, 6, 8)
    assert [e.primitive.name for e in write.update] == ["broadcast_in_dim", "select_n"]


def test_a_prefill_writes_its_whole_chunk() -> None:
    for write in find_cache_writes(*prefill_of(SPELLINGS["fresh_in_prefill"])):
        assert isinstance(write, CacheWrite)
        assert shape_of(write.new) == (2, PROMPT, 6, 8)


@pytest.mark.parametrize(
    "name", ["shifted_cache", "written_twice", "unused_cache", "einsum_slots_first-int8"]
)
def test_what_cannot_be_followed_is_said_for_every_cache(name: str) -> None:
    found = find_cache_writes(*decode_of(NEAR_MISSES[name]))
    assert [w.name for w in found] == ["k", "v"]
    for write in found:
        assert isinstance(write, Unraised)
        with pytest.raises(ValueError, match=NEAR_MISSES[name].reason):
            raise ValueError(write.reason)
