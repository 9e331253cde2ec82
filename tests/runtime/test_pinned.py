"""What streams from the host lies in pinned memory; the tests lend the CPU device a memory of its own."""

import jax
import ml_dtypes
import numpy as np
import pytest

from partitioner.plan.steps import Move
from runtime import Session, hand_over, system
from runtime.pinned import PinnedCache, is_pinned, streamed_from_host
from tests.runtime.forced_plans import forced_plan
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, demo_hardware, plain_tokens, plan_for, transformer


@pytest.fixture
def own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets JAX's CPU device pass for one that everything is copied to."""
    for module in (system, hand_over):
        monkeypatch.setattr(module, "has_own_memory", lambda device: True)


@pytest.mark.parametrize("policy", ["deepspeed-host", "recompute"])
@pytest.mark.usefixtures("own_memory")
def test_tokens_stay_the_same(policy: str) -> None:
    model = transformer(num_kv_heads=4)
    plan = plan_for(model, policy)
    with Session(plan, model, clock="virtual") as session:
        tokens = session.generate(PROMPTS, max_new_tokens=8).tokens
        again = session.generate(PROMPTS[1:], max_new_tokens=3).tokens
        states = session._ready().system.states
        names = {
            n for s in plan.decode.steps if isinstance(s, Move) and s.kind == "stream_cache" for n in s.names
        }
        kept = {name: is_pinned(states.read(0, name)) for name in names}
    expected = plain_tokens(model, PROMPTS, 8, WORKLOAD.max_len)
    assert tokens == expected
    assert again == [row[:3] for row in expected[1:]]
    assert kept
    assert all(kept.values())


@pytest.mark.usefixtures("own_memory")
def test_parameters_that_stream_are_pinned_and_those_that_the_host_reads_are_not() -> None:
    model = transformer()
    kinds: set[bool] = set()
    for seed in (0, 4):
        plan = forced_plan(model, demo_hardware().replace("drive.flash.page_bytes", 128), WORKLOAD, seed)
        streamed = streamed_from_host(plan)
        with Session(plan, model, clock="virtual") as session:
            weights = session._ready().system.processors["host"].weights
            assert {name for name, w in weights.items() if is_pinned(w)} == streamed & weights.keys()
            kinds |= {is_pinned(w) for w in weights.values()}
            tokens = session.generate(PROMPTS, max_new_tokens=4).tokens
        assert tokens == plain_tokens(model, PROMPTS, 4, WORKLOAD.max_len)
    assert kinds == {True, False}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
@pytest.mark.parametrize(("rows_axis", "token_axis"), [(0, 1), (0, 2), (1, 0)])
def test_a_cache_is_written_in_place_whatever_its_axes(dtype: type, rows_axis: int, token_axis: int) -> None:
    shape = [2, 2, 2]
    shape[rows_axis], shape[token_axis] = 3, 5
    cache = PinnedCache(tuple(shape), dtype, rows_axis, token_axis, jax.devices("cpu")[0])
    expected = np.zeros(shape, dtype)
    by_row = np.moveaxis(expected, (rows_axis, token_axis), (0, 1))
    rng = np.random.default_rng(0)
    fresh = rng.standard_normal((2, 4, 2)).astype(dtype)
    cache.store(np.moveaxis(fresh, (0, 1), (rows_axis, token_axis)), np.array([2, -1]))
    by_row[2, :4] = fresh[0]
    new = rng.standard_normal((3, 1, 2)).astype(dtype)
    cache.append(np.moveaxis(new, (0, 1), (rows_axis, token_axis)), np.array([0, 3, 4]))
    by_row[0, 0], by_row[1, 3], by_row[2, 4] = new[:, 0]
    np.testing.assert_array_equal(np.asarray(cache.array), expected)
