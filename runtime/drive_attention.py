"""Lets a drive do its share of an attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from partitioner.ir.op import Attention
from partitioner.plan.share_operands import share_operands
from partitioner.plan.steps import Run
from partitioner.shares import Share
from partitioner.token_cut import TokenCut
from runtime.frame import Frame
from runtime.partial_attention import PartialAttention
from runtime.program import PartOf, Program
from runtime.sparse_attention import sparse_of
from runtime.system import System


def attend_on_drive(
    program: Program, system: System, frame: Frame, step: Run, share: Share, ready_s: float
) -> float:
    """Lets a drive append and attend for the rows of its share that have a request; returns when the output is there.

    Where the newest tokens are elsewhere, it attends to the older ones of those rows of which it has any.
    """
    name = program.segment(step).attention or ""
    attention = program.attention[name]
    read = tuple(frame.read(step.device, v) for v in share_operands(attention, share))
    if share.cut is not None:
        output, end_s = _attend_older(
            system, frame, step, name, attention, share, share.cut, read[0], ready_s
        )
    else:
        output, end_s = _attend_all(system, frame, step, name, attention, share, read, ready_s)
    frame.put(step.device, PartOf(attention.output), output)
    return end_s


def _attend_all(
    system: System, frame: Frame, step: Run, name: str, attention: Attention, share: Share,
    read: tuple[np.ndarray, ...], ready_s: float,
) -> tuple[np.ndarray, float]:  # fmt: skip
    """Returns the attention to all tokens, float32 ``[rows, H, D]``, zeros in rows without a request."""
    found = frame.rows_of(share)
    if not found.count:
        return np.zeros(read[0].shape, np.float32), ready_s
    is_whole = found.count == share.num_rows
    lengths = frame.after[found.taken]
    drive = system.drives[step.device]
    rows = drive.task.rows(name, frame.micro_batch, found.own)
    sparse = sparse_of(attention, lengths) if drive.task.keeps_channels(name) else None
    query, key, value = read if is_whole else tuple(a[found.own] for a in read)
    made, end_s = drive.attend(name, rows, query, (key, value), lengths, attention, ready_s, sparse)
    if is_whole:
        return made, end_s
    output = np.zeros(read[0].shape, np.float32)
    output[found.own] = made
    return output, end_s


def _attend_older(
    system: System, frame: Frame, step: Run, name: str, attention: Attention, share: Share, cut: TokenCut,
    query: Any, ready_s: float,
) -> tuple[PartialAttention, float]:  # fmt: skip
    """Returns the attention to older tokens; rows that have none, or no request, are those of no token."""
    found = frame.rows_of(share)
    lengths = frame.after[found.taken]
    older = cut.attended(lengths)
    there = np.flatnonzero(older)
    output = PartialAttention.none(query.shape)
    if not there.size:
        return output, ready_s
    own, drive = found.own[there], system.drives[step.device]
    rows, newer = drive.task.rows(name, frame.micro_batch, own), (lengths - older)[there]
    made, end_s = drive.attend(name, rows, query[own], None, older[there], attention, ready_s, newer=newer)
    output.output[own], output.statistics[own] = made.output, made.statistics
    return output, end_s
