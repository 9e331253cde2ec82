"""The KV caches that live on processors, and which device each state lives on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.ir.op import Attention
from partitioner.jaxpr import Var
from partitioner.plan.plan import Plan
from runtime.cache_homes import is_in_parts
from runtime.cache_updates import append_function, in_cache_axes, row_axis, rows_axis_of, store
from runtime.devices.processor import Processor
from runtime.hand_over import fetch
from runtime.kept_inputs import append_input
from runtime.micro_batches import MicroBatches
from runtime.pinned import PinnedCache
from runtime.program import describe_aval


class States:
    """Keeps the full decode caches of every micro-batch on their home processors, in the model's own axes.

    Caches on drives, and those that devices share, are not here. A state of no raised attention lives where the
    decode updates it.

    Args:
        plan: Says where they live.
        processors: ``gpu0`` and ``host``.
        pinned: Those on the host that only stream to a GPU with memory of its own.

    Attributes:
        home: Processor of every state that lives on one, by name.
    """

    def __init__(
        self, plan: Plan, processors: Mapping[str, Processor], pinned: Collection[str] = frozenset()
    ) -> None:
        graph = plan.decode.graph
        self._vars: dict[str, Var] = {i.name: i.var for i in graph.phase.inputs if i.role == "cache"}
        self._processors = processors
        self._num_rows = plan.decode.rows
        self._num_micro_batches = MicroBatches.of(plan).count
        self._arrays: dict[tuple[int, str], jax.Array] = {}
        self._rows_axis: dict[str, int] = {}
        self._own_rows: list[str] = []
        self._token_axis: dict[str, int] = {}
        self._pinned: dict[tuple[int, str], PinnedCache] = {}
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
                self._token_axis[name] = op.attention.cache_layout.index(("token",))
                if is_in_parts(plan, op.name):
                    self.home.pop(name, None)
                else:
                    self.home[name] = plan.caches[op.name][0].device

        for name in self.home.keys() & pinned:
            self._pin(name)

    def _pin(self, name: str) -> None:
        """Keeps a cache in memory that the GPU reads by itself."""
        axes = self._rows_axis[name], self._token_axis[name]
        device = self._processors["gpu0"].device
        for number in range(self._num_micro_batches):
            self._pinned[number, name] = PinnedCache(*describe_aval(self._vars[name]), *axes, device)

    def clear(self) -> None:
        """Starts with empty caches. Pinned ones are left as they are: nobody reads behind the valid tokens."""
        self._arrays.clear()
        for name in self.home.keys() - {name for _, name in self._pinned}:
            home = self.home[name]
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
        key = micro_batch, name
        return self._pinned[key].array if key in self._pinned else self._arrays[key]

    def replace(self, micro_batch: int, name: str, array: jax.Array) -> None:
        """Takes the cache that a segment made of the old one."""
        self._arrays[micro_batch, name] = array

    def append(
        self, micro_batch: int, attention: Attention, pair: tuple[Any, Any], lengths: np.ndarray
    ) -> list[jax.Array]:
        """Puts one token's K and V per row, made anywhere, behind the first ``lengths``; returns the caches."""
        keys = [(micro_batch, name) for name in (attention.key_cache, attention.value_cache)]
        for key, new in zip(keys, pair, strict=True):
            if key in self._pinned:
                layouts, cache = (attention.new_layout, attention.cache_layout), self._pinned[key]
                cache.append(in_cache_axes(fetch(new), *layouts, cache.array.shape), lengths)
            else:
                append = append_function(attention.new_layout, attention.cache_layout)
                placed = self._processors[self.home[key[1]]].place(new)
                self._keep(key, append(self._arrays[key], placed, lengths))
        return [self.read(*key) for key in keys]

    def append_input(self, micro_batch: int, name: str, rows: jax.Array, lengths: np.ndarray) -> jax.Array:
        """Puts one token's input ``[rows, 1, width]``, made anywhere, behind the first ``lengths``; returns the cache."""
        key = micro_batch, name
        if key in self._pinned:
            self._pinned[key].append(fetch(rows), lengths)
        else:
            placed = self._processors[self.home[name]].place(rows)
            self._keep(key, append_input(self._arrays[key], placed, lengths))
        return self.read(*key)

    def store(self, micro_batch: int, name: str, var: Var, fresh: jax.Array, slots: np.ndarray) -> jax.Array:
        """Takes what a prefill made of some rows.

        Args:
            micro_batch: Whose rows they are.
            name: Of the state.
            var: The prefill's variable.
            fresh: Its value, made anywhere.
            slots: Integer ``[rows]``, the row of the micro-batch that each row is; nothing is kept of ``NO_SLOT``.

        Raises:
            SessionError: It cannot be told which axis holds the rows.
        """
        key = micro_batch, name
        if key in self._pinned:
            self._pinned[key].store(fetch(fresh), slots)
        else:
            (placed,) = self._processors[self.home[name]].place_named({name: fresh}).values()
            axis = self.rows_axis(name, var, len(slots))
            self._keep(key, store(self._arrays[key], placed, slots, axis))
        return self.read(*key)

    def _keep(self, key: tuple[int, str], array: jax.Array) -> None:
        """Takes what an update made, laid out over several devices as executables take it."""
        home = self._processors[self.home[key[1]]]
        self._arrays[key] = jax.device_put(array, home.sharding_of(key[1])) if home.axes else array

    def rows_axis(self, name: str, var: Var, num_rows: int) -> int | None:
        """Returns the axis on which a state holds the rows, where a prefill of ``num_rows`` rows makes it as ``var``.

        None stands for a state that such a prefill makes whole.

        Raises:
            SessionError: It cannot be told which axis that is.
        """
        axis = self._rows_axis.get(name)
        return rows_axis_of(name, self._vars[name], var, self._num_rows, num_rows) if axis is None else axis

    def described(self, name: str) -> Var:
        """Returns the variable that is a state's in the decode, with its shape and dtype."""
        return self._vars[name]
