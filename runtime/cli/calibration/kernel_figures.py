"""Measures chains of kernels on a device with memory of its own, and how long it takes to start an executable there."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import numpy as jnp

from cost_models import Work
from runtime.cli.calibration.kernel_chains import Chain, chains, num_chains
from runtime.cli.calibration.kernel_effort import KernelEffort
from runtime.cli.calibration.layer_chains import LayerChain, layer_chains, random_like
from runtime.cli.calibration.steady_time import steady_seconds_of
from runtime.jax_device import JaxDevice, memory_bytes


@dataclass(frozen=True)
class ChainSample:
    """Holds one timed chain.

    Attributes:
        kind: What its links are.
        label: Its shape, for people.
        dtype: Name of the dtype it computes in.
        num_links: Links.
        work: What a run demands by the model of fusion.
        seconds: Seconds of a run.
    """

    kind: str
    label: str
    dtype: str
    num_links: int
    work: Work
    seconds: float


@dataclass(frozen=True)
class KernelFigures:
    """Holds what was measured on one device.

    Attributes:
        name: What it is.
        launch_s: Seconds of starting one of many executables that do next to nothing.
        samples: Chains.
    """

    name: str
    launch_s: float
    samples: tuple[ChainSample, ...]


def measure_kernels(
    device: JaxDevice, name: str, effort: KernelEffort, tell: Callable[[], None]
) -> KernelFigures:
    """Times one of JAX's devices; decode steps that it has no room for are left out.

    Args:
        device: What to measure.
        name: What it is, for people.
        effort: What to measure.
        tell: Called after each figure.
    """
    samples: list[ChainSample] = []
    room = memory_bytes(device) or math.inf
    with jax.default_device(device):
        little = jax.jit(lambda x: x + 1.0)
        launch_s = steady_seconds_of(little, jnp.zeros(8), effort.budget_s)
        tell()
        for chain in chains(effort):
            samples.append(_time(chain, effort))
            tell()
        for layers in layer_chains(effort):
            if layers.num_bytes <= room:
                samples.append(_time_layers(layers, effort))
            tell()
    return KernelFigures(name, launch_s, tuple(samples))


def num_kernel_figures(effort: KernelEffort) -> int:
    """Returns how many figures :func:`measure_kernels` tells of."""
    return 1 + num_chains(effort) + len(effort.layers) * len(effort.steps)


def _time(chain: Chain, effort: KernelEffort) -> ChainSample:
    """Times a chain on random arrays."""
    key = jax.random.key(0)
    drawn: list[Any] = []
    for shapes in chain.arrays:
        key, *own = jax.random.split(key, len(shapes) + 1)
        drawn.append([_random(k, s.shape, s.dtype) for k, s in zip(own, shapes, strict=True)])
    first = _random(key, chain.begins.shape, chain.begins.dtype)
    run = jax.jit(chain.run)
    seconds = steady_seconds_of(lambda value: run(value, drawn), first, effort.budget_s)
    return ChainSample(chain.kind, chain.label, chain.dtype, chain.num_links, chain.work, seconds)


def _time_layers(chain: LayerChain, effort: KernelEffort) -> ChainSample:
    """Times decode steps on random parameters and caches."""
    weights, carried = random_like(chain.weights), random_like(chain.carried)
    run = jax.jit(chain.step, donate_argnums=1)
    seconds = steady_seconds_of(lambda given: run(weights, given), carried, effort.budget_s)
    return ChainSample("layers", chain.label, effort.dtypes[0], chain.config.num_layers, chain.work, seconds)


_random = jax.jit(jax.random.normal, static_argnums=(1, 2))
"""Draws normal numbers without an array in another dtype beside them."""
