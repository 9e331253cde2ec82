"""The KV caches that live on processors, and which device each state lives on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.ir.op import Attention
from partitioner.jaxpr import Var
from partitioner.plan.plan import Plan
from runtime.cache_updates import append_function, rows_axis_of, store
from runtime.devices.processor import Processor
from runtime.drive_tasks import is_on_drives
from runtime.program import describe_aval


class States:
    """Keeps the full decode caches of a plan on their home processors, in the model's own axes.

    Caches on drives are not here. A state of no raised attention lives where the decode updates it.

    Attributes:
        home: Processor of every state that lives on one, by name.
    """

    def __init__(self, plan: Plan, processors: Mapping[str, Processor]) -> None:
        graph = plan.decode.graph
        self._vars: dict[str, Var] = {i.name: i.var for i in graph.phase.inputs if i.role == "cache"}
        self._processors = processors
        self._num_rows = plan.workload.batch_size
        self._arrays: dict[str, jax.Array] = {}
        self._rows_axis: dict[str, int] = {}
        self.home: dict[str, str] = dict.fromkeys(self._vars, "gpu0")
        for segment in plan.decode.segments:
            for v in segment.outputs:
                described = graph.output_of.get(v)
                if described is not None and described.name in self.home:
                    self.home[described.name] = segment.device
        for op in graph.ops:
            if op.attention is None:
                continue
            for name in (op.attention.key_cache, op.attention.value_cache):
                self._rows_axis[name] = op.attention.cache_layout.index(("batch",))
                if is_on_drives(plan.caches[op.name]):
                    del self.home[name]
                else:
                    self.home[name] = plan.caches[op.name][0].device

    def clear(self) -> None:
        """Starts with empty caches."""
        self._arrays.clear()
        for name, home in self.home.items():
            shape, dtype = describe_aval(self._vars[name])
            self._arrays[name] = jnp.zeros(shape, dtype, device=self._processors[home].device)

    def read(self, name: str) -> jax.Array:
        """Returns a cache."""
        return self._arrays[name]

    def replace(self, name: str, array: jax.Array) -> None:
        """Takes the cache that a segment made of the old one."""
        self._arrays[name] = array

    def append(self, attention: Attention, pair: tuple[Any, Any], lengths: np.ndarray) -> list[jax.Array]:
        """Puts one token's K and V per row behind the first ``lengths``; returns the caches."""
        append = append_function(attention.new_layout, attention.cache_layout)
        for name, new in zip((attention.key_cache, attention.value_cache), pair, strict=True):
            self._arrays[name] = append(self._arrays[name], new, lengths)
        return [self._arrays[attention.key_cache], self._arrays[attention.value_cache]]

    def store(self, name: str, var: Var, fresh: jax.Array, rows: tuple[int, int]) -> jax.Array:
        """Takes what a prefill made of some rows.

        Args:
            name: Of the state.
            var: The prefill's variable.
            fresh: Its value, on the state's home.
            rows: (start, stop) in the batch.

        Raises:
            SessionError: It cannot be told which axis holds the rows.
        """
        axis = self._rows_axis.get(name)
        if axis is None:
            axis = rows_axis_of(name, self._vars[name], var, self._num_rows, rows[1] - rows[0])
        self._arrays[name] = store(self._arrays[name], fresh, rows[0], axis)
        return self._arrays[name]
