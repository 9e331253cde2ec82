"""Runs an attention region on small arrays: in NumPy where it has a rule for every primitive, else compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from partitioner.frontend.trace import TracedPhase
from partitioner.frontend.traced import INDEX_ROLES
from partitioner.jaxpr import Eqn, Var, borders, evaluate, needed_for, shape_of, variables
from partitioner.numpy_rules import evaluate_in_numpy, has_numpy_rule
from partitioner.passes.find_attention import AttentionRegion, CacheUse

FAST_COMPILE = {"xla_backend_optimization_level": "0"}


def runnable(
    equations: Sequence[Eqn], given: Sequence[Var], wanted: Sequence[Var]
) -> Callable[[Sequence[Any]], list[np.ndarray]]:
    """Returns a function from the values of ``given`` to those of ``wanted``.

    What NumPy cannot run is compiled, quickly and for the CPU: accelerators may contract float32 in fewer bits.
    """
    if all(has_numpy_rule(e) for e in equations):

        def run_in_numpy(values: Sequence[Any]) -> list[np.ndarray]:
            env = evaluate_in_numpy(equations, dict(zip(given, values, strict=True)))
            return [np.asarray(env[v]) for v in wanted]

        return run_in_numpy

    def traced(values: Sequence[Any]) -> list[Any]:
        env = evaluate(equations, dict(zip(given, values, strict=True)))
        return [env[v] for v in wanted]

    compiled = jax.jit(traced, compiler_options=FAST_COMPILE)

    def run_compiled(values: Sequence[Any]) -> list[np.ndarray]:
        with jax.default_device(jax.devices("cpu")[0]):
            return [np.asarray(x) for x in compiled(list(values))]

    return run_compiled


def index_variables(phase: TracedPhase) -> list[Var]:
    """Returns what :func:`index_inputs` gives values to, in its order."""
    return [i.var for i in phase.inputs if i.role in INDEX_ROLES or i.role == "const"]


def index_inputs(phase: TracedPhase, lengths: np.ndarray) -> dict[Var, Any]:
    """Returns the index inputs of a decode step that appends at position ``lengths[row]``.

    Args:
        phase: A decode trace with chunk 1.
        lengths: int[batch], tokens already cached; equal for all rows where the phase has a scalar cursor.
    """
    env: dict[Var, Any] = {}
    for i in phase.inputs:
        aval: Any = i.var.aval
        if i.role == "token" or i.name == "logits_at":
            env[i.var] = np.zeros(aval.shape, aval.dtype)
        elif i.role == "position":
            env[i.var] = np.asarray(lengths, aval.dtype)[:, None]
        elif i.role == "mask":
            env[i.var] = np.arange(phase.max_len)[None, :] <= np.asarray(lengths)[:, None]
        elif i.role == "cursor":
            env[i.var] = np.full(aval.shape, lengths[0], aval.dtype)
        elif i.role == "const":
            env[i.var] = i.value
    return env


class RegionRunner:
    """Runs one region of a probe trace, with arrays in the region's own axes.

    Args:
        region: The region.
        phase: The probe trace.
        index: Its index equations.
    """

    def __init__(self, region: AttentionRegion, phase: TracedPhase, index: tuple[Eqn, ...]) -> None:
        self.region = region
        self.phase = phase
        key, value = region.key, region.value
        given = [region.query, key.new, value.new, key.before, value.before]
        equations = (*needed_for(index, borders(region.equations)), *region.equations)
        self._given = given
        self._run = runnable(
            equations, [*given, *index_variables(phase)], [region.output, key.after, value.after]
        )

    def __call__(
        self, arrays: list[np.ndarray], lengths: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns output, K cache and V cache as float32, for q, new k, new v, K cache and V cache.

        Args:
            arrays: In the region's axes; cast to its dtypes.
            lengths: int[batch], tokens already cached.
        """
        cast = []
        for a, v in zip(arrays, self._given, strict=True):
            aval: Any = v.aval
            cast.append(np.reshape(a, aval.shape).astype(aval.dtype, copy=False))
        out = self._run([*cast, *index_inputs(self.phase, lengths).values()])
        first, second, third = (x.astype(np.float32) for x in out)
        return first, second, third


def contraction_operand(use: CacheUse, cache: np.ndarray) -> np.ndarray:
    """Returns what the contraction reads for a given cache after its update, as float32."""
    views = [e for e in use.views if e.primitive.name != "convert_element_type"]
    aval: Any = use.written.aval
    written = _before_views(use, np.asarray(cache).astype(aval.dtype))
    if not views:
        return written.astype(np.float32)
    run = runnable(use.views, [use.written], [use.views[-1].outvars[0]])
    return run([written])[0].astype(np.float32)


def _before_views(use: CacheUse, cache: np.ndarray) -> np.ndarray:
    """Returns what the update made, given the state that goes out as a view of it: same entries, other axes."""
    shape = shape_of(use.written)
    if use.written is use.after:
        return cache
    outgoing = needed_for(use.update, [use.after])
    start = next(i for i, e in enumerate(outgoing) if use.written in e.outvars)
    place: Any = np.arange(cache.size).reshape(shape)
    env: dict[Var, Any] = {use.written: place}
    for eqn in outgoing[start + 1 :]:
        if eqn.primitive.name == "convert_element_type":  # places are whole numbers that it might round
            env[eqn.outvars[0]] = env[variables(eqn.invars)[0]]
        else:
            evaluate([eqn], env)
    flat = np.empty(cache.size, cache.dtype)
    flat[np.asarray(env[use.after]).reshape(-1)] = cache.reshape(-1)
    return flat.reshape(shape)
