"""Runs the shares of attentions that lie on processors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import jax
import numpy as np

from partitioner.ir.op import Attention
from partitioner.jaxpr import Var
from partitioner.plan.share_operands import share_operands
from partitioner.plan.steps import Move, Run
from partitioner.shares import Share
from runtime.attention_demand import gpu_demand, host_demand
from runtime.attention_parts import cache_part, new_part, query_part, slopes_part
from runtime.cache_homes import cache_dtype, cache_len
from runtime.executables import compile_for, row_of, shape_on
from runtime.frame import Frame
from runtime.hand_over import fetch
from runtime.host_attention import append_tokens, attend_host, prepare
from runtime.jax_device import num_devices, sharding_on
from runtime.program import PartOf, Program, describe_aval
from runtime.share_attention import attend_function, store_function
from runtime.share_caches import cut_axis
from runtime.share_merges import ShareMerges
from runtime.share_rows import NO_SLOT
from runtime.system import System
from runtime.token_window import attend_window, fill_window


class ShareRunner:
    """Performs what concerns the shares of one phase.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.

    Attributes:
        merges: Puts their outputs together.
    """

    def __init__(self, program: Program, system: System) -> None:
        self._program = program
        self._system = system
        self._compiled: dict[tuple[Any, ...], Callable[..., Any]] = {}
        self._attend: dict[int, Callable[..., Any]] = {}
        self.merges = ShareMerges(program, system)

    def compile(self) -> None:
        """Compiles what shares on processors need, but for merges."""
        for step in self._program.phase.steps:
            if isinstance(step, Run) and step.share is not None:
                name = self._program.segment(step).attention or ""
                if step.device == "host":
                    prepare()
                elif step.device in self._system.processors:
                    self._attend[step.id] = self._attend_on_gpu(self._program.attention[name], step.share)

    def attend(self, frame: Frame, step: Run, share: Share, ready_s: float) -> float:
        """Appends the new token to a share's cache and attends; returns when the output is there."""
        name = self._program.segment(step).attention or ""
        attention = self._program.attention[name]
        given = [frame.read(step.device, v) for v in share_operands(attention, share)]
        pair = self._system.share_caches.read(frame.micro_batch, name, step.device)
        processor = self._system.processors[step.device]
        itemsize = np.dtype(pair[0].dtype).itemsize
        if step.device == "host":
            query, key, value = (np.asarray(a) for a in given)
            rows = slice(*share.rows)
            new = tuple(new_part(a, attention, share, frame.num_rows) for a in (key, value))
            queries, length = query_part(query, attention, share, frame.num_rows), frame.after[rows]
            output: Any
            if share.cut is not None:
                output = attend_window(queries, (new[0], new[1]), pair, length, attention, share, share.cut)
            else:
                append_tokens(pair, (new[0], new[1]), frame.before[rows])
                output = attend_host(
                    queries, pair, length, attention.scale, soft_cap=attention.soft_cap,
                    window=attention.window, slopes=slopes_part(attention, share),
                )  # fmt: skip
            demand = host_demand(attention, share, length, itemsize)
        else:
            lengths = frame.once(lengths_on(step.device), lambda: processor.place(frame.before))
            output, *updated = self._attend[step.id](*given, *pair, lengths)
            self._system.share_caches.replace(frame.micro_batch, name, step.device, (updated[0], updated[1]))
            demand = gpu_demand(attention, share, pair[0].shape[2], itemsize, num_devices(processor.device))
        end_s = processor.account(output, [demand], ready_s, name, self._program.name)
        if step.id in self._program.local_shares:
            self.merges.arrive(frame, step.device, name, share, output)
        else:
            frame.put(step.device, PartOf(attention.output), output)
        return end_s

    def store(self, frame: Frame, step: Move, share: Share, values: dict[str, Any]) -> Any:
        """Puts what a prefill made of a share into its cache on a processor.

        Args:
            frame: The prefill's run.
            step: The move.
            share: The share.
            values: K and V by state name, in the model's axes, wherever they were made.

        Returns:
            The caches, where they are arrays.
        """
        name = step.attention or ""
        attention = self._program.attention[name]
        found = frame.rows_of(share)
        pair = self._system.share_caches.read(frame.micro_batch, name, step.dst)
        fresh = {n: values[n] for n in (attention.key_cache, attention.value_cache)}
        if step.dst == "host":
            made = [
                fetch(a, lambda a: cache_part(a, attention, found.taken, share, frame.num_rows))
                for a in fresh.values()
            ]
            if share.cut is not None:
                fill_window(pair, (made[0], made[1]), found.own, frame.after[found.taken], share.cut)
                return ()
            for cache, part in zip(pair, made, strict=True):
                cache[found.own, :, : part.shape[2]] = part
            return ()
        placed = self._system.processors[step.dst].place_named(fresh)
        own = np.full(frame.num_rows, share.num_rows, np.int32)
        own[found.taken] = found.own
        run = self._store_on_gpu(attention, share, placed[attention.key_cache], pair[0])
        stored = [run(cache, made, own) for cache, made in zip(pair, placed.values(), strict=True)]
        self._system.share_caches.replace(frame.micro_batch, name, step.dst, (stored[0], stored[1]))
        return stored

    def warm_up(self, step: Move, values: dict[str, Any]) -> None:
        """Compiles what storing a share takes."""
        rows = self._program.phase.rows
        none = np.zeros(rows, np.int32)
        if step.share is not None:
            slots = np.full(rows, NO_SLOT, np.int32)
            self.store(Frame(self._program, 0, slots, none, none, {}, {}), step, step.share, values)

    def _attend_on_gpu(self, attention: Attention, share: Share) -> Callable[..., Any]:
        given = share_operands(attention, share)
        num_rows, max_len = self._program.phase.rows, cache_len(self._program.plan, attention)
        dtype = cache_dtype(self._program.plan, attention)
        key = (
            "attend", share.device, _shape(attention, share), _logits(attention), num_rows, max_len, str(dtype),
            *map(_described, given),
        )  # fmt: skip
        if key not in self._compiled:
            device = self._system.processors[share.device].device
            shape = share.num_rows, share.num_kv_heads, max_len, attention.head_size
            at = sharding_on(device, cut_axis(device, shape))
            cache = jax.ShapeDtypeStruct(shape, dtype, sharding=at)
            shapes = [*(shape_on(v, device) for v in given), cache, cache, row_of(num_rows, np.int32, device)]
            made = sharding_on(device), at, at
            attend = attend_function(attention, share, num_rows)
            self._compiled[key] = compile_for(device, attend, shapes, (3, 4), made)
        return self._compiled[key]

    def _store_on_gpu(self, attention: Attention, share: Share, fresh: Any, cache: Any) -> Callable[..., Any]:
        num_rows = self._program.phase.rows
        key = ("store", _shape(attention, share), num_rows, fresh.shape, cache.shape, str(fresh.dtype))
        if key not in self._compiled:
            store = store_function(attention, share, num_rows)
            self._compiled[key] = jax.jit(store, donate_argnums=0, out_shardings=cache.sharding)
        return self._compiled[key]


def lengths_on(device: str) -> Hashable:
    """Returns under which key a run keeps the tokens that rows have cached before it, on a device."""
    return "lengths", device


def _shape(attention: Attention, share: Share) -> tuple[Any, ...]:
    """Returns all that tells the cut of one share from that of another."""
    return *_axes(attention), share.rows, share.kv_heads


def _axes(attention: Attention) -> tuple[Any, ...]:
    """Returns all that tells the axes of one attention's arrays from those of another."""
    layouts = attention.query_layout, attention.new_layout, attention.cache_layout, attention.output_layout
    return layouts, attention.num_heads, attention.num_kv_heads, attention.head_size


def _logits(attention: Attention) -> tuple[Any, ...]:
    """Returns all that tells how one attention weighs tokens from how another one does."""
    return attention.scale, attention.soft_cap, attention.window, attention.slopes


def _described(var: Var) -> tuple[tuple[int, ...], str]:
    shape, dtype = describe_aval(var)
    return shape, str(dtype)
