import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from jax import numpy as jnp

from models.accuracy.largest import largest

COMPILED = jax.jit(largest)


@given(seed=st.integers(0, 2**32 - 1), many_equal=st.booleans())
def test_equals_a_stable_sort(seed: int, many_equal: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.exponential(size=(5, 23)).astype(np.float32)
    if many_equal:
        values = np.floor(2 * values)
    values[rng.random(values.shape) < 0.2] = -1.0
    counts = rng.integers(0, 30, 5)
    chosen = np.asarray(COMPILED(jnp.asarray(values), jnp.asarray(counts)))
    for row, count, got in zip(values, counts, chosen, strict=True):
        order = [i for i in np.argsort(-row, kind="stable") if row[i] >= 0]
        assert sorted(order[:count]) == np.flatnonzero(got).tolist()
