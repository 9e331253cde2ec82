"""The unit of placement: a group of jaxpr equations with what placement needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cost_models import Work
from partitioner.ir.tensor_parallel import Collective
from partitioner.jaxpr import Eqn, Var
from partitioner.sparsity import SparF

NOTHING = Work()

OpKind = Literal["compute", "attention"]
AxisRole = Literal["batch", "kv_head", "group", "token", "head_size"]
Layout = tuple[tuple[AxisRole, ...], ...]


def head_axis(layout: Layout) -> int | None:
    """Returns the axis of an array whose major part are KV heads."""
    return next((n for n, roles in enumerate(layout) if roles[:1] == ("kv_head",)), None)


@dataclass(frozen=True)
class StoredInput:
    """Tells of an attention that its cache keeps the input of its layer, from which K and V are made again for every use.

    Attributes:
        attention: The attention as its equations have it.
        value: The input in this phase: what is kept of the tokens of a step.
        batch_axis: Axis of ``value`` that holds the rows.
        token_axis: Axis of ``value`` that holds tokens; None where there is one token per row.
    """

    attention: Attention
    value: Var
    batch_axis: int
    token_axis: int | None


@dataclass(frozen=True)
class Attention:
    """Describes a raised attention: append k and v to the cache, then softmax(cap(scale * q.K^T) - slope * distance) . V.

    A ``Layout`` gives, per axis of an array, the roles it holds, major first; ``()`` is an axis of size one.

    Attributes:
        layer: Ordinal of the attention in the model, from 0.
        key_cache: State name of the K cache.
        value_cache: State name of the V cache.
        num_heads: Query heads.
        num_kv_heads: KV heads; query head ``k * group + g`` reads KV head ``k``.
        head_size: d.
        scale: Factor on q.K^T.
        cache_dtype: Name of the dtype of the cache.
        query: Variable the region reads as q.
        new_key: Variable appended to the K cache.
        new_value: Variable appended to the V cache.
        output: Variable the region leaves behind.
        query_layout: Axes of ``query``.
        new_layout: Axes of ``new_key`` and ``new_value``.
        cache_layout: Axes of the caches.
        output_layout: Axes of ``output``.
        source: Set where the cache keeps the layer's input. ``key_cache`` and ``value_cache`` then are one state, whose rows
            count as K and V of ``num_kv_heads`` heads: one half of a row is the K of all heads, the other one their V.
        soft_cap: c of ``c * tanh(x / c)``, through which scaled products go; None for none.
        window: Newest tokens that are seen, the own one included; None for all.
        slopes: One per query head, KV head major: what a logit loses per token of distance (ALiBi); None for no bias.
        sparsity: How drives attend; None for exactly. What else attends, attends exactly.
    """

    layer: int
    key_cache: str
    value_cache: str
    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    cache_dtype: str
    query: Var
    new_key: Var
    new_value: Var
    output: Var
    query_layout: Layout
    new_layout: Layout
    cache_layout: Layout
    output_layout: Layout
    source: StoredInput | None = None
    soft_cap: float | None = None
    window: int | None = None
    slopes: tuple[float, ...] | None = None
    sparsity: SparF | None = None

    @property
    def group_size(self) -> int:
        """Returns the query heads per KV head."""
        return self.num_heads // self.num_kv_heads

    def tokens_seen(self, context_len: int) -> int:
        """Returns how many tokens of a context are attended to."""
        return context_len if self.window is None else min(context_len, self.window)

    def can_share_heads(self, num_devices: int) -> bool:
        """Tells whether several devices may keep equal parts of the caches, each K and V of its own KV heads."""
        has_axis = head_axis(self.cache_layout) is not None
        return self.source is None and has_axis and self.num_kv_heads % num_devices == 0

    def __str__(self) -> str:
        shown = [
            f"heads={self.num_heads} kv_heads={self.num_kv_heads} d={self.head_size} scale={self.scale:.6g}"
        ]
        shown += [] if self.soft_cap is None else [f"cap={self.soft_cap:.6g}"]
        shown += [] if self.window is None else [f"window={self.window}"]
        if self.slopes is not None:
            shown.append(f"slopes={min(self.slopes):.4g}..{max(self.slopes):.4g}")
        shown.append(f"cache={self.key_cache},{self.value_cache} {self.cache_dtype}")
        return " ".join([*shown, str(self.sparsity)] if self.sparsity else shown)


@dataclass(frozen=True, eq=False)
class Op:
    """Groups equations that run together on one device (an attention may be split over several).

    Attributes:
        name: Dotted, from the parameters it uses: ``blocks.3.mlp.up``.
        kind: ``attention`` for a raised one.
        equations: In execution order; index arithmetic on tokens, positions and masks is repeated in every op that needs it.
        inputs: What it reads from outside: params, states, index inputs, other ops' outputs.
        outputs: What other ops, the state or the caller read.
        params: Names of the parameters read.
        gathered: Those of ``params`` from which only some rows are read (embedding tables).
        states: Names of the states read or written.
        work: Demand of one execution, ``remakes`` left aside.
        remakes: Demands of what makes K and V of stored inputs before that: none of it hides behind the attention.
        dtype: Name of the dtype its arithmetic runs in.
        form: A number that ops of a phase share exactly if they compute the same function of inputs of the same roles.
        attention: Set for a raised attention.
        collectives: What several GPUs exchange for one execution.
        repeated: What several GPUs do beyond ``work``, since each has some parameters or a cache whole.
    """

    name: str
    kind: OpKind
    equations: tuple[Eqn, ...]
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]
    params: tuple[str, ...]
    gathered: tuple[str, ...]
    states: tuple[str, ...]
    work: Work
    dtype: str
    form: int
    attention: Attention | None = None
    remakes: tuple[Work, ...] = ()
    collectives: tuple[Collective, ...] = ()
    repeated: Work = NOTHING

    def __str__(self) -> str:
        detail = f" [{self.attention}]" if self.attention else ""
        return f"{self.name}: {self.kind}, {len(self.equations)} equations, {self.dtype}{detail}"
