"""What an equation does to a part of an element is not taken for the element, nor a scan over tokens for one over layers."""

from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from partitioner.frontend import from_step, trace_phase
from partitioner.jaxpr import dtype_of, evaluate, shape_of, variables
from tests.partitioner.stacked_decoders import HEAD_SIZE, HEADS, HIDDEN, VOCAB, layer, params

LAYERS, ROWS, SLOTS = 3, 2, 5


def test_a_scatter_of_fewer_slots_than_a_layer_has_does_not_replace_the_layer() -> None:
    numbers = lax.ScatterDimensionNumbers(
        update_window_dims=(0, 1, 2, 3), inserted_window_dims=(0,), scatter_dims_to_operand_dims=(0,)
    )

    def init_cache(rows: int, slots: int) -> dict[str, Any]:
        return {"keys": jnp.zeros((LAYERS, rows, slots, 2, 4))}

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        new = jnp.ones((*tokens.shape, 2, 4))
        return params[tokens], {"keys": lax.scatter(cache["keys"], jnp.array([1]), new, numbers)}

    function = from_step(step, params=jnp.ones((8, 8)), init_cache=init_cache)
    phase = trace_phase(function, "decode", batch_size=ROWS, chunk=1, max_len=SLOTS)
    given = {
        i.var: jnp.zeros(shape_of(i.var), dtype_of(i.var)) if i.value is None else i.value
        for i in phase.inputs
    }
    (keys,) = variables(o.atom for o in phase.outputs if o.name == "keys")
    wanted = np.zeros((LAYERS, ROWS, SLOTS, 2, 4))
    wanted[1, :, :1] = 1
    np.testing.assert_array_equal(np.asarray(evaluate(phase.equations, dict(given))[keys]), wanted)


@pytest.mark.parametrize("chunk", [HIDDEN, VOCAB], ids=["as long as a kernel", "as long as the table"])
def test_a_scan_over_tokens_is_no_scan_over_layers(chunk: int) -> None:
    def init_cache(rows: int, slots: int) -> dict[str, Any]:
        return {name: jnp.zeros((rows, slots, HEADS, HEAD_SIZE)) for name in ("key", "value")}

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        weights = jax.tree.map(lambda a: a[0], params["blocks"])

        def body(caches: Any, token: Any) -> tuple[Any, Any]:
            x = params["embed"][token[0]][:, None]
            x, keys, values = layer(x, weights, caches[0], caches[1], token[1][:, None])
            return (keys, values), x[:, 0]

        caches, x = lax.scan(body, (cache["key"], cache["value"]), (tokens.T, positions.T))
        after = dict(zip(("key", "value"), caches, strict=True))
        return jnp.swapaxes(x, 0, 1) @ params["head"], after

    function = from_step(step, params=params(), init_cache=init_cache)
    phase = trace_phase(function, "prefill", batch_size=1, chunk=chunk, max_len=chunk)
    assert [e.primitive.name for e in phase.equations].count("scan") == 1
