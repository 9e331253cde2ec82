"""Ops of both phases are paired, the model is cut where little is live, and repeated blocks are folded."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner.passes.fold_blocks import ValueFlow, cut_points, fold, pair_ops, value_flows
from tests.partitioner.small_models import LLAMA, MhaDecoder, abstract_transformer, traced


def unfolded(folded: tuple[tuple[int, int, int], ...], blocks: str) -> str:
    return "".join(blocks[start : start + period] * count for start, period, count in folded)


@given(st.text("ab", max_size=12) | st.text("abc", max_size=12))
def test_a_fold_covers_the_sequence_with_equal_blocks(blocks: str) -> None:
    folded = fold(blocks)
    assert unfolded(folded, blocks) == blocks
    start = 0
    for first, period, count in folded:
        assert (first, period >= 1, count >= 1) == (start, True, True)
        start += period * count
    assert start == len(blocks)


@given(
    st.text("abc", max_size=3),
    st.text("abc", min_size=1, max_size=3),
    st.integers(2, 6),
    st.text("xyz", max_size=3),
)
def test_a_repetition_becomes_few_ranges(before: str, block: str, count: int, behind: str) -> None:
    """However often a block is repeated."""
    once = fold(before + block * count + behind)
    more = fold(before + block * (count + 50) + behind)
    assert len(more) <= len(before) + len(block) + len(behind) + 2
    assert max(p * c for _, p, c in more) >= max(p * c for _, p, c in once)


@pytest.mark.parametrize(
    ("blocks", "folded"),
    [
        ("", ()),
        ("a", ((0, 1, 1),)),
        ("abc", ((0, 1, 1), (1, 1, 1), (2, 1, 1))),
        ("aaaa", ((0, 1, 4),)),
        ("eaaaah", ((0, 1, 1), (1, 1, 4), (5, 1, 1))),
        ("ababab", ((0, 2, 3),)),
        ("eababx", ((0, 1, 1), (1, 2, 2), (5, 1, 1))),
        ("aabaab", ((0, 3, 2),)),
        ("abababa", ((0, 2, 3), (6, 1, 1))),
        ("aaabbb", ((0, 1, 3), (3, 1, 3))),
    ],
)
def test_folds(blocks: str, folded: tuple[tuple[int, int, int], ...]) -> None:
    assert fold(blocks) == folded


@st.composite
def flows(draw: st.DrawFn) -> tuple[int, list[ValueFlow]]:
    count = draw(st.integers(2, 8))
    drawn = draw(
        st.lists(st.tuples(st.integers(0, 1), st.sets(st.integers(0, count - 1), min_size=2)), max_size=8)
    )
    unnamed: Any = None
    return count, [
        ValueFlow(phase, unnamed, min(ends), tuple(sorted(ends - {min(ends)}))) for phase, ends in drawn
    ]


@given(flows())
def test_at_a_cut_at_most_one_value_per_phase_is_live(case: tuple[int, list[ValueFlow]]) -> None:
    count, found = case
    cuts = cut_points(count, found, 2)
    for position in range(count + 1):
        crossing = [
            [f for f in found if f.phase == p and f.producer < position <= max(f.consumers)] for p in (0, 1)
        ]
        assert (position in cuts) == all(len(c) <= 1 for c in crossing)
    assert {0, count} <= set(cuts)


@pytest.fixture(scope="module")
def graphs() -> tuple[object, ...]:
    return traced(abstract_transformer(LLAMA.replace(num_layers=3))).graphs


def test_ops_of_both_phases_are_paired_by_name_in_an_order_both_can_run_in(graphs) -> None:
    pairs = pair_ops(graphs)
    assert [p.name for p in pairs][:3] == ["embed.token", "blocks.0.norm1", "blocks.0.attention.query"]
    for number, graph in enumerate(graphs):
        position = {p.name: i for i, p in enumerate(pairs) if p.ops[number] is not None}
        assert set(position) == {op.name for op in graph.ops}
        for var, producer in graph.producer.items():
            for consumer in graph.consumers.get(var, ()):
                assert position[graph.ops[producer].name] < position[graph.ops[consumer].name]
    assert all(p.ops[n].name == p.name for p in pairs for n in (0, 1))


def test_one_phase_alone_is_paired_with_nothing() -> None:
    graphs = traced(MhaDecoder()).graphs
    pairs = pair_ops(graphs)
    assert [p.ops for p in pairs] == [(op,) for op in graphs[0].ops]


def test_flows_are_what_one_op_makes_and_others_read(graphs) -> None:
    pairs = pair_ops(graphs)
    found = value_flows(graphs, pairs)
    assert list(found) == sorted(found, key=lambda f: (f.phase, f.producer, f.consumers))
    for flow in found:
        ops = [p.ops[flow.phase] for p in pairs]
        assert flow.var in ops[flow.producer].outputs
        readers = [i for i, op in enumerate(ops) if flow.var in op.inputs]
        assert list(flow.consumers) == readers
        assert flow.last == readers[-1] > flow.producer
    read = {(n, v) for n, g in enumerate(graphs) for op in g.ops for v in op.inputs if v in g.producer}
    assert {(f.phase, f.var) for f in found} == read


def test_a_decoder_is_cut_between_its_layers(graphs) -> None:
    pairs = pair_ops(graphs)
    cuts = cut_points(len(pairs), value_flows(graphs, pairs), 2)
    starts = [i for i, p in enumerate(pairs) if p.name.endswith("norm1")]
    assert len(starts) == 3
    assert set(starts) <= set(cuts)
    inside = [i for i, p in enumerate(pairs) if p.name.endswith((".key", ".value", ".attention"))]
    assert not set(inside) & set(cuts)
