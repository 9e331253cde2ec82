"""Both ways between a device and the threads of the host, on JAX's CPU device, which has pinned memory too."""

from collections.abc import Callable
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from jax import numpy as jnp

from runtime import hand_over
from runtime.hand_over import DirectHandOver, HandOver, MeshHandOver, PinnedHandOver, hand_over_of
from runtime.jax_device import mesh_of

WAYS: dict[str, Callable[[Any], HandOver]] = {
    "direct": DirectHandOver,
    "pinned": PinnedHandOver,
    "mesh": lambda device: MeshHandOver(mesh_of([device])),
}
SHAPES = {
    "one dtype": [((2, 3, 4), np.float16), ((2, 3), np.float16), ((5,), np.float16)],
    "two dtypes": [((2, 3), ml_dtypes.bfloat16), ((4,), np.float32), ((3, 2), ml_dtypes.bfloat16)],
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> HandOver:
    return WAYS[request.param](jax.devices("cpu")[0])


@pytest.mark.parametrize("shapes", SHAPES)
def test_the_host_reads_what_was_sent(way: HandOver, shapes: str) -> None:
    rng = np.random.default_rng(0)
    described = [jax.ShapeDtypeStruct(s, d) for s, d in SHAPES[shapes]]
    send = way.sender(described)
    for _ in range(2):
        values = [rng.standard_normal(d.shape).astype(d.dtype) for d in described]
        sent = send([jnp.asarray(v) for v in values])
        jax.block_until_ready(sent.pending)
        for array, value in zip(sent.arrays(), values, strict=True):
            assert array.dtype == value.dtype
            np.testing.assert_array_equal(array, value)


def test_an_executable_reads_what_the_host_wrote_last(way: HandOver) -> None:
    returned = way.returned((2, 3))
    run = jax.jit(lambda given: 2 * way.load(given)).lower(way.shape_of((2, 3))).compile()
    np.testing.assert_array_equal(run(returned.given()), 0.0)
    for value in (1.5, -4.0):
        returned.host[1] = value
        np.testing.assert_array_equal(run(returned.given()), [[0.0] * 3, [2 * value] * 3])


def test_what_was_given_is_not_changed_later_where_it_was_copied() -> None:
    returned = DirectHandOver(jax.devices("cpu")[0]).returned((1024,))
    given = returned.given()
    returned.host[:] = 1.0
    np.testing.assert_array_equal(given, 0.0)


def test_a_device_of_the_host_takes_the_direct_way() -> None:
    assert isinstance(hand_over_of(jax.devices("cpu")[0]), DirectHandOver)


def test_several_devices_with_memory_of_their_own_go_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "has_own_memory", lambda device: True)
    device = jax.devices("cpu")[0]
    assert isinstance(hand_over_of(device), PinnedHandOver)
    assert isinstance(hand_over_of(mesh_of([device])), MeshHandOver)


@pytest.mark.parametrize("own_memory", [False, True])
def test_the_part_of_an_array_is_fetched(own_memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "has_own_memory", lambda device: own_memory)
    array = jnp.arange(24, dtype=jnp.bfloat16).reshape(2, 3, 4)
    part = hand_over.fetch(array, lambda a: a.transpose(1, 0, 2)[1:])
    assert isinstance(part, np.ndarray)
    assert part.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(part, np.asarray(array).transpose(1, 0, 2)[1:])
