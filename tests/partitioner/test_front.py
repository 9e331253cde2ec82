"""From a step function to graphs of both phases: sizes, slices of a prefill, fingerprints, and what cannot be raised."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from cost_models import HardwareSpec
from partitioner import Workload, front
from partitioner.errors import PassError
from partitioner.front import Traced, fingerprint_of, trace_model
from partitioner.frontend import StepFunction, adapt, from_step, trace_phase
from partitioner.ir.graph import OpGraph
from partitioner.ir.working_set import working_set_bytes
from partitioner.jaxpr import shape_of
from tests.partitioner.passes.spellings import SPELLINGS
from tests.partitioner.small_models import (
    HEADS,
    HIDDEN,
    LLAMA,
    MhaDecoder,
    abstract_transformer,
    plain_cache,
    plain_function,
    plain_params,
    plain_step,
    traced,
)

HW = HardwareSpec.load("a6000-csd")


def of_phase(traced_model: Traced, name: str) -> OpGraph:
    return next(g for g in traced_model.graphs if g.phase.name == name)


def test_the_decode_has_the_whole_batch_and_the_longest_context() -> None:
    graphs = traced(plain_function(), batch_size=6, prompt_len=9, decode_len=4).graphs
    sizes = {g.phase.name: (g.phase.batch_size, g.phase.chunk, g.phase.max_len) for g in graphs}
    assert sizes == {"prefill": (6, 9, 9), "decode": (6, 1, 13)}
    assert [g.phase.name for g in graphs] == ["prefill", "decode"]


def test_a_model_that_takes_one_token_has_no_prefill() -> None:
    graphs = traced(MhaDecoder(), batch_size=3, prompt_len=9, decode_len=4).graphs
    assert [(g.phase.name, g.phase.batch_size, g.phase.max_len) for g in graphs] == [("decode", 3, 13)]


def largest_working_set(graph: OpGraph) -> int:
    return max(working_set_bytes(graph, op) for op in graph.ops)


@pytest.mark.parametrize("batch_size", [12, 7])
@pytest.mark.parametrize("share", [0.3, 0.5, 1.1])
def test_a_prefill_has_as_many_rows_as_fit_in_its_share_of_memory(batch_size: int, share: float) -> None:
    """``share`` of the batch fits: the largest divisor of the batch below that is taken."""
    whole = of_phase(traced(plain_function(), batch_size, 32, 4), "prefill")
    assert whole.phase.batch_size == batch_size
    memory = largest_working_set(whole) * share / front._PREFILL_SHARE
    hw = HW.replace("gpu.memory_bytes", memory)
    graph = of_phase(trace_model(plain_function(), hw, Workload(batch_size, 32, 4)), "prefill")
    rows = graph.phase.batch_size
    divisors = [d for d in range(1, batch_size + 1) if batch_size % d == 0]
    assert rows in divisors
    # a guess from the attention alone stands while it needs no more than twice the share
    assert largest_working_set(graph) <= front._SLACK * front._PREFILL_SHARE * memory or rows == 1
    # and the next more rows would not fit, counting logits and probabilities in float32 as the guess does
    per_row = max(largest_working_set(whole) / batch_size, 8 * HEADS * 32**2)
    assert (
        rows == batch_size or min(d for d in divisors if d > rows) * per_row > front._PREFILL_SHARE * memory
    )


def test_a_row_that_does_not_fit_is_a_slice_all_the_same() -> None:
    graphs = trace_model(plain_function(), HW.replace("gpu.memory_bytes", 1e3), Workload(4, 32, 4)).graphs
    assert graphs[0].phase.batch_size == 1
    assert graphs[1].phase.batch_size == 4


def test_a_wrong_guess_of_rows_is_traced_again_once() -> None:
    """A wide layer, which attention knows nothing of, makes the first guess too large."""
    asked: list[int] = []

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        if tokens.shape[1] > 1:
            asked.append(tokens.shape[0])
        logits, after = plain_step(params, tokens, cache, positions, mask)
        return (jnp.tanh(logits @ params["up"]) @ params["down"]), after

    vocab = plain_params()["head"].shape[1]
    wide = {"up": jnp.zeros((vocab, 4096)), "down": jnp.zeros((4096, vocab))}
    function = from_step(step, params=plain_params() | wide, init_cache=plain_cache)
    hw = HW.replace("gpu.memory_bytes", 3 * 32 * 4096 * 4 * 2 / front._PREFILL_SHARE)
    graph = of_phase(trace_model(function, hw, Workload(12, 32, 4)), "prefill")
    assert asked == [12, graph.phase.batch_size]
    assert graph.phase.batch_size < 12
    assert largest_working_set(graph) <= front._PREFILL_SHARE * hw.gpus[0].memory_bytes


def test_passes_are_shown_by_name() -> None:
    shown: dict[str, str] = {}
    trace_model(plain_function(), HW, Workload(2, 6, 4), show=lambda name, text: shown.update({name: text()}))
    assert list(shown) == ["trace", "raise"]
    assert shown["trace"].startswith("decode: batch 2, chunk 1, cache 10\n")
    assert "prefill: batch 2, chunk 6, cache 6\n" in shown["raise"]
    assert "attention: attention, " in shown["raise"]


def test_graphs_are_verified_unless_the_user_declines(monkeypatch: pytest.MonkeyPatch) -> None:
    def lossy(*args: Any) -> OpGraph:
        graph = group_ops(*args)
        return dataclasses.replace(graph, ops=graph.ops[1:])

    group_ops = front.group_ops
    monkeypatch.setattr(front, "group_ops", lossy)
    with pytest.raises(PassError, match=r"after group_ops: op 'query' reads .*, which no earlier op makes"):
        trace_model(plain_function(), HW, Workload(2, 6, 4))
    assert len(trace_model(plain_function(), HW, Workload(2, 6, 4), verify=False).graphs) == 2


def attentions(traced_model: Traced) -> dict[str, list[str]]:
    return {g.phase.name: [op.name for op in g.ops if op.attention] for g in traced_model.graphs}


def test_a_prefill_that_attends_to_what_it_makes_still_writes_its_caches_in_one_op() -> None:
    found = traced(SPELLINGS["fresh_in_prefill"].decoder())
    assert attentions(found) == {"prefill": ["attention"], "decode": ["attention"]}
    prefill = of_phase(found, "prefill")
    (attention,) = [op for op in prefill.ops if op.attention]
    assert {prefill.output_of[v].name for v in attention.outputs if v in prefill.output_of} == {"k", "v"}


def test_an_attention_whose_prefill_cannot_be_followed_is_raised_in_no_phase() -> None:
    """Its keys and values could not be stored on a drive."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        logits, after = plain_step(params, tokens, cache, positions, mask)
        if tokens.shape[1] > 1:
            after = {n: jnp.concatenate([c, cache[n]], axis=1)[:, : c.shape[1]] for n, c in after.items()}
        return logits, after

    found = traced(from_step(step, params=plain_params(), init_cache=plain_cache))
    assert attentions(found) == {"prefill": [], "decode": []}
    (left,) = of_phase(found, "decode").unraised
    assert left.name == "keys"
    assert left.reason == (
        "in the prefill the cache is not written by dynamic_update_slice, scatter or select, but by `concatenate`"
    )


def fingerprint(function: StepFunction, batch_size: int = 2, prompt_len: int = 6, decode_len: int = 4) -> str:
    """Returns the fingerprint of both phases, nothing of which is raised."""
    longest = prompt_len + decode_len
    prefill = trace_phase(function, "prefill", batch_size=batch_size, chunk=prompt_len, max_len=prompt_len)
    return fingerprint_of(
        [prefill, trace_phase(function, "decode", batch_size=batch_size, chunk=1, max_len=longest)]
    )


class TestFingerprint:
    """Equal for the same computation, and different for any other."""

    def test_a_traced_model_has_that_of_its_phases(self) -> None:
        assert traced(plain_function()).fingerprint == fingerprint(plain_function())

    @staticmethod
    def of(
        *,
        scale: float = 1.0,
        table: Any = None,
        op: Callable[[Any], Any] = jnp.tanh,
        axes: tuple[int, ...] = (0, 1, 2),
        rename: dict[str, str] | None = None,
        hidden_dtype: str = "float32",
        swap: bool = False,
        sizes: tuple[int, int, int] = (2, 6, 4),
    ) -> str:
        array = jnp.arange(8.0) if table is None else table

        def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
            renamed = params | {old: params[new] for old, new in (rename or {}).items()}
            logits, after = plain_step(renamed, tokens, cache, positions, mask)
            square = jnp.ones((HIDDEN, HIDDEN, HIDDEN), hidden_dtype).transpose(axes)[0, 0, 0]
            first, second = (logits, logits * 2) if swap else (logits * 2, logits)
            return (first - second) * scale + op(logits) + array.sum() + square.astype("float32"), after

        params = plain_params()
        params = {(rename or {}).get(n, n): v for n, v in params.items()}
        return fingerprint(from_step(step, params=params, init_cache=plain_cache), *sizes)

    def test_a_second_trace_has_the_same(self) -> None:
        assert self.of() == self.of()

    @pytest.mark.parametrize(
        "change",
        [
            {"scale": 1.0000001},
            {"table": jnp.arange(8.0).at[3].set(2.5)},
            {"op": jnp.sin},
            {"axes": (1, 0, 2)},
            {"rename": {"query": "q"}},
            {"hidden_dtype": "bfloat16"},
            {"swap": True},
            {"sizes": (3, 6, 4)},
            {"sizes": (2, 7, 3)},
            {"sizes": (2, 6, 5)},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_any_change_has_another(self, change: dict[str, Any]) -> None:
        assert self.of(**change) != self.of()

    def test_values_of_parameters_do_not_count(self) -> None:
        doubled = from_step(
            plain_step, params=jax.tree.map(lambda p: 2 * p, plain_params()), init_cache=plain_cache
        )
        assert fingerprint(doubled) == fingerprint(plain_function())

    def test_an_abstract_model_has_that_of_the_real_one(self) -> None:
        shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), plain_params())
        abstract = from_step(plain_step, params=shapes, init_cache=plain_cache)
        assert fingerprint(abstract) == fingerprint(plain_function())

    def test_which_result_is_returned_as_which_counts(self) -> None:
        def swapped(params: Any, *inputs: Any) -> Any:
            logits, cache = plain_step(params, *inputs)
            return logits, {"keys": cache["values"], "values": cache["keys"]}

        function = from_step(swapped, params=plain_params(), init_cache=plain_cache)
        assert fingerprint(function) != fingerprint(plain_function())

    def test_a_function_among_the_parameters_of_an_equation_counts_by_name(self) -> None:
        """Where it lies in memory is not the same in the next run."""

        def shown(callback: Callable[..., None]) -> str:
            def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
                jax.debug.callback(callback, positions)
                return plain_step(params, tokens, cache, positions, mask)

            return fingerprint(from_step(step, params=plain_params(), init_cache=plain_cache))

        def callbacks() -> Callable[..., None]:
            def callback(positions: Any) -> None:
                pass

            return callback

        kept = [callbacks(), callbacks()]
        assert shown(kept[0]) == shown(kept[1])


def test_a_transformer_has_one_fingerprint_in_every_trace() -> None:
    first, second = (fingerprint(adapt(abstract_transformer(LLAMA))) for _ in range(2))
    assert first == second
    other = fingerprint(adapt(abstract_transformer(LLAMA.replace(num_layers=2))))
    assert other != first


def test_whole_number_caches_are_caches_and_counters_are_not() -> None:
    def step(params: Any, tokens: Any, state: Any, positions: Any, mask: Any) -> Any:
        logits, after = plain_step(params, tokens, state, positions, mask)
        small = {
            "int8": state["int8"] + 1,
            "float8": state["float8"],
            "count": state["count"] + 1,
            "rows": state["rows"],
        }
        return logits, after | small

    def init_cache(rows: int, slots: int) -> Any:
        return plain_cache(rows, slots) | {
            "int8": jnp.zeros((rows, slots, 4, 6), "int8"),
            "float8": jnp.zeros((rows, slots), "float8_e4m3fn"),
            "count": jnp.zeros((), "int32"),
            "rows": jnp.zeros((rows, slots), "bool"),
        }

    function: StepFunction = adapt(from_step(step, params=plain_params(), init_cache=init_cache, max_chunk=1))
    phase = traced(function).graphs[-1].phase
    roles = {i.name: i.role for i in phase.inputs}
    assert {n: roles[n] for n in ("int8", "float8", "count", "rows")} == {
        "int8": "cache",
        "float8": "cache",
        "count": "cursor",
        "rows": "cursor",
    }
    assert shape_of(phase.outputs[0].atom) == (2, 1, 40)
