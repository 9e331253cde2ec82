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
from runtime.cache_homes import is_in_parts
from runtime.cache_updates import append_function, row_axis, rows_axis_of, store
from runtime.devices.processor import Processor
from runtime.kept_inputs import append_input
from runtime.micro_batches import MicroBatches
from runtime.program import describe_aval


class States:
    """Keeps the full decode caches of every micro-batch on their home processors, in the model's own axes.

    Caches on drives, and those that devices share, are not here. A state of no raised attention lives where the
    decode updates it.

    Attributes:
        home: Processor of every state that lives on one, by name.
    """

    def __init__(self, plan: Plan, processors: Mapping[str, Processor]) -> None:
        graph = plan.decode.graph
        self._vars: dict[str, Var] = {i.name: i.var for i in graph.phase.inputs if i.role == "cache"}
        self._processors = processors
        self._num_rows = plan.decode.rows
        self._num_micro_batches = MicroBatches.of(plan).count
        self._arrays: dict[tuple[int, str], jax.Array] = {}
        self._rows_axis: dict[str, int] = {}
        self._own_rows: list[str] = []
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
                if is_in_parts(plan, op.name):
                    self.home.pop(name, None)
                else:
                    self.home[name] = plan.caches[op.name][0].device

    def clear(self) -> None:
        """Starts with empty caches."""
        self._arrays.clear()
        for name, home in self.home.items():
            shape, dtype = describe_aval(self._vars[name])
            for number in range(self._num_micro_batches):
                at = self._processors[home].sharding_of(name)
                self._arrays[number, name] = jnp.zeros(shape, dtype, device=at)

    def split_rows(self, prefill: Mapping[str, Var] | None) -> None:
        """Finds the rows of states outside of raised attentions, so that one row can begin anew.

        Args:
            prefill: The states as the prefill makes them, by name; None where there is no prefill.

        Raises:
            SessionError: A state is shared by all rows, or several of its axes could hold them.
        """
        for name in self.home.keys() - self._rows_axis.keys():
            part = self._vars[name] if prefill is None else prefill[name]
            self._rows_axis[name] = row_axis(name, self._vars[name], part, self._num_rows)
            self._own_rows.append(name)

    def reset(self, micro_batch: int, slots: np.ndarray) -> None:
        """Empties rows of states whose rows are known, and that no length keeps from being read."""
        for name in self._own_rows:
            key = micro_batch, name
            empty = jnp.zeros_like(self._arrays[key])
            self._keep(key, store(self._arrays[key], empty, slots, self._rows_axis[name]))

    def read(self, micro_batch: int, name: str) -> jax.Array:
        """Returns a cache."""
        return self._arrays[micro_batch, name]

    def replace(self, micro_batch: int, name: str, array: jax.Array) -> None:
        """Takes the cache that a segment made of the old one."""
        self._arrays[micro_batch, name] = array

    def append(
        self, micro_batch: int, attention: Attention, pair: tuple[Any, Any], lengths: np.ndarray
    ) -> list[jax.Array]:
        """Puts one token's K and V per row behind the first ``lengths``; returns the caches."""
        append = append_function(attention.new_layout, attention.cache_layout)
        keys = [(micro_batch, name) for name in (attention.key_cache, attention.value_cache)]
        for key, new in zip(keys, pair, strict=True):
            self._keep(key, append(self._arrays[key], new, lengths))
        return [self._arrays[key] for key in keys]

    def append_input(self, micro_batch: int, name: str, rows: jax.Array, lengths: np.ndarray) -> jax.Array:
        """Puts one token's input ``[rows, 1, width]`` behind the first ``lengths``; returns the cache."""
        key = micro_batch, name
        self._keep(key, append_input(self._arrays[key], rows, lengths))
        return self._arrays[key]

    def store(self, micro_batch: int, name: str, var: Var, fresh: jax.Array, slots: np.ndarray) -> jax.Array:
        """Takes what a prefill made of some rows.

        Args:
            micro_batch: Whose rows they are.
            name: Of the state.
            var: The prefill's variable.
            fresh: Its value, on the state's home.
            slots: Integer ``[rows]``, the row of the micro-batch that each row is; nothing is kept of ``NO_SLOT``.

        Raises:
            SessionError: It cannot be told which axis holds the rows.
        """
        axis = self._rows_axis.get(name)
        if axis is None:
            axis = rows_axis_of(name, self._vars[name], var, self._num_rows, len(slots))
        key = micro_batch, name
        self._keep(key, store(self._arrays[key], fresh, slots, axis))
        return self._arrays[key]

    def _keep(self, key: tuple[int, str], array: jax.Array) -> None:
        """Takes what an update made, laid out over several devices as executables take it."""
        home = self._processors[self.home[key[1]]]
        self._arrays[key] = jax.device_put(array, home.sharding_of(key[1])) if home.axes else array
