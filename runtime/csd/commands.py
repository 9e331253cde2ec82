"""The commands of the drive.

Letters: ``n`` sequences of the command, ``H`` query heads and ``K`` KV heads of its layer, ``T`` tokens (padded),
``D`` head size. Keys and values have the configured dtype. Where ``rows`` is None, a command
is about sequences 0 to n - 1.
"""

from dataclasses import dataclass

import numpy as np

from runtime.csd.sparse import Sparse


@dataclass(frozen=True)
class Configure:
    """Starts a task with a new KV cache; what the task of that number held is reclaimed.

    The task reserves flash for its longest cache and drive memory for its group buffer and tables, so that no later
    task can starve it.

    Attributes:
        num_layers: Layers of the model.
        num_kv_heads: KV heads that this drive holds.
        num_query_heads: Query heads that attend to them, a multiple of the KV heads.
        head_size: Elements of one head of one token.
        dtype: float16, bfloat16 or float32.
        batch_size: Sequences.
        max_len: Longest sequence, in tokens.
        layer_kv_heads: KV heads of each layer where some have fewer than ``num_kv_heads``; None: all have as many.
        layer_rows: Sequences of each layer where some have fewer than ``batch_size``; None: all have as many.
        channel_group: Head channels in a channel page of the second copy of K, 2, 4 or 8; None: K is kept once, by
            token. Sparse attention needs the second copy.
        layer_by_channel: Whether each layer has the second copy of K, where some do not; None: all have it, where a
            ``channel_group`` is given.
        layer_gathers: Whether each layer takes in tokens that do not fill a page, which wait in the group buffer, where some
            do not; None: all do. One that does not is given whole pages' worth of tokens, and needs no buffer.
        task: Number of the task.
    """

    num_layers: int
    num_kv_heads: int
    num_query_heads: int
    head_size: int
    dtype: np.dtype
    batch_size: int
    max_len: int
    layer_kv_heads: tuple[int, ...] | None = None
    layer_rows: tuple[int, ...] | None = None
    channel_group: int | None = None
    layer_by_channel: tuple[bool, ...] | None = None
    layer_gathers: tuple[bool, ...] | None = None
    task: int = 0


@dataclass(frozen=True, eq=False)
class Write:
    """Stores tokens ``start`` to ``start + lengths`` (exclusive) of sequences.

    A start at a sequence's length appends; a start below it drops the later tokens first. Sequences are
    written in order: should the flash fill up, those before the one that failed are stored.

    Attributes:
        layer: Layer.
        key: ``[n, K, T, D]``.
        value: ``[n, K, T, D]``.
        start: Integer ``[n]``.
        lengths: Integer ``[n]``, how many of the T tokens count; None: all.
        rows: Integer ``[n]``, each sequence once.
        task: Number of the task.
    """

    layer: int
    key: np.ndarray
    value: np.ndarray
    start: np.ndarray
    lengths: np.ndarray | None = None
    rows: np.ndarray | None = None
    task: int = 0


@dataclass(frozen=True, eq=False)
class Attend:
    """Appends the new token, where one is given, and attends to all tokens.

    The value is float32 ``[n, H, D]``; with ``newer``, a :class:`runtime.partial_attention.PartialAttention`.

    Attributes:
        layer: Layer.
        query: Float ``[n, H, D]``.
        key: New keys ``[n, K, D]``, or None.
        value: New values ``[n, K, D]``, or None.
        lengths: Integer ``[n]``, tokens of each sequence, the new one included.
        scale: Factor of the scores, such as ``D ** -0.5``.
        soft_cap: Caps scaled scores at ``soft_cap * tanh(score / soft_cap)``.
        window: Attends to the newest ``window`` tokens only; nothing else is read.
        slopes: Float ``[H]``: a score loses ``slopes[h]`` per token that lies between; None for no such bias.
        rows: Integer ``[n]``, each sequence once.
        sparse: Reads only some channels and tokens; None: all. Needs a layer that keeps K by channel.
        newer: Integer ``[n]``, tokens behind those stored that are attended to elsewhere: ``window`` and ``slopes`` count from
            the newest of them, and the value comes with the statistics of its softmax. None: there are none.
        task: Number of the task.
    """

    layer: int
    query: np.ndarray
    key: np.ndarray | None
    value: np.ndarray | None
    lengths: np.ndarray
    scale: float
    soft_cap: float | None = None
    window: int | None = None
    slopes: np.ndarray | None = None
    rows: np.ndarray | None = None
    sparse: Sparse | None = None
    newer: np.ndarray | None = None
    task: int = 0


@dataclass(frozen=True, eq=False)
class Read:
    """Reads a layer's cache as a plain drive would.

    The value is a pair (key, value), each ``[n, K, num_tokens, D]``, zeros outside of what was asked.

    Attributes:
        layer: Layer.
        lengths: Integer ``[n]``, the token after the last one to read of each sequence; None: all that are stored.
        num_tokens: Tokens on the padded axis; None: the configured ``max_len``.
        rows: Integer ``[n]``, each sequence once; None: all of the layer.
        first: Integer ``[n]``, first token of each sequence to read; None: 0.
        task: Number of the task.
    """

    layer: int
    lengths: np.ndarray | None = None
    num_tokens: int | None = None
    rows: np.ndarray | None = None
    first: np.ndarray | None = None
    task: int = 0


@dataclass(frozen=True, eq=False)
class Reclaim:
    """Drops sequences or a range of their tokens, without copying; blocks that hold nothing else are erased.

    A range begins with the oldest stored token of a sequence or ends with its newest; what of it is not stored does
    not matter. Of a range at the front, pages that lie in it wholly are free at once; the other tokens keep their
    positions, and what was reclaimed can be neither read nor attended to. A range at the end makes the sequence
    shorter. A sequence of which nothing is left begins anew at token 0.

    Attributes:
        layer: Layer; None: all.
        rows: Integer ``[n]``, sequences; None: all.
        tokens: First token and the token after the last one; None: all.
        task: Number of the task; None: all tasks.
    """

    layer: int | None = None
    rows: np.ndarray | None = None
    tokens: tuple[int, int] | None = None
    task: int | None = 0


@dataclass(frozen=True)
class Release:
    """Ends a task: drops all that it holds and gives back what it reserved.

    Attributes:
        task: Number of the task.
    """

    task: int = 0


@dataclass(frozen=True)
class Identify:
    """Asks what the drive is; the value is an :class:`runtime.csd.records.Identity`."""


@dataclass(frozen=True)
class Health:
    """Asks for counters and wear; the value is a :class:`runtime.csd.records.HealthReport`.

    Attributes:
        scan: Also reads back every stored page against its checksum. Takes no emulated time.
    """

    scan: bool = False


Command = Configure | Write | Attend | Read | Reclaim | Release | Identify | Health
