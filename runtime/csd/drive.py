"""The drive: executes commands on real bytes and says when a real drive would be done."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from cost_models.hardware import DriveSpec, FaultSpec
from runtime.csd.attention import attend_stored, prepare
from runtime.csd.backing import NoBacking, arena_of
from runtime.csd.busy_shares import BusyMeter
from runtime.csd.checks import check_integers, check_kv, check_layer, check_query, check_rows
from runtime.csd.commands import (
    Attend,
    Command,
    Configure,
    Health,
    Identify,
    Read,
    Reclaim,
    Release,
    Write,
)
from runtime.csd.errors import CapacityError, DriveError, DriveStopped
from runtime.csd.fault_plan import FaultPlan
from runtime.csd.file_backing import FileBacking
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.geometry import Geometry
from runtime.csd.health import identify, report_health
from runtime.csd.lost_pages import LostPages
from runtime.csd.nand import NandArray
from runtime.csd.reclaim import reclaim
from runtime.csd.records import CommandDetail, Completion
from runtime.csd.sparse import StepCounts, check_sparse
from runtime.csd.store import KvStore
from runtime.csd.tasks import Tasks
from runtime.csd.throttle import Throttle
from runtime.csd.traffic import Traffic


@dataclass(frozen=True)
class _Outcome:
    """What executing a command gave, before it is put into a completion."""

    value: Any
    end_s: float
    traffic: Traffic
    channel_s: float = 0.0
    engine_s: float = 0.0


class Drive:
    """A virtual computational storage drive, or a plain SSD where the specification has no engine.

    Commands run one at a time, in the order of the calls. Values are worked out during the call; the time
    that a real drive would take is only told, never slept.

    Attributes:
        spec: What is emulated.
        name: Name in messages and timelines.

    Args:
        spec: Likewise.
        name: Likewise.
        backing: Where pages lie, if not in memory: in a file, or nowhere where only what would be read and programmed is
            to be counted.

    Raises:
        DriveError: No file can be made where ``backing`` wants it.
        CapacityError: There is no room for it.
    """

    def __init__(
        self, spec: DriveSpec, name: str = "csd0", backing: FileBacking | NoBacking | None = None
    ) -> None:
        self.spec = spec
        self.name = name
        geometry = Geometry.of(spec.flash)
        try:
            arena = arena_of(backing, geometry.page_bytes, name)
        except DriveError as error:
            raise error.of_drive(name) from error
        self._faults = FaultPlan(spec.faults or FaultSpec(), name)
        worn = self._faults.worn_blocks(geometry.num_blocks)
        self._nand = NandArray(geometry, self._faults, arena)
        self._nand.wear[worn] = spec.flash.rated_pe_cycles - 1
        self._free = FreeBlocks(geometry, spec.flash.rated_pe_cycles, worn)
        self._lost = LostPages(self._nand, self._free)
        self._tasks = Tasks(self._nand, self._free, spec.dram_bytes)
        self._throttle = Throttle(spec, name, self._faults)
        self._busy = BusyMeter(self._throttle)
        self._steps = StepCounts()
        self._commands = 0
        self._closed = False
        self._lock = threading.Lock()

    def execute(self, command: Command, start_s: float) -> Completion:
        """Executes a command that arrives at ``start_s``.

        Args:
            command: What to do.
            start_s: Arrival in seconds, on the one clock that the drive is used with.

        Returns:
            The value, and when the drive is done.

        Raises:
            DriveError: The command breaks a rule, or met a fault; the message starts with the drive's name.
        """
        with self._lock:
            began_s = time.perf_counter()
            retries = self._throttle.read_retries
            try:
                if self._closed:
                    raise DriveError("the drive is closed and its pages are gone; make a new one")
                self._count_command()
                outcome = self._dispatch(command, start_s + self.spec.command_s)
            except DriveError as error:
                raise error.of_drive(self.name) from error
            retries = self._throttle.read_retries - retries
            return self._complete(outcome, start_s, retries, time.perf_counter() - began_s)

    def prepare(self, command: Command) -> None:
        """Compiles what a command and those after it need, or loads it; the work of this machine, not of the drive."""
        if isinstance(command, Configure) and self.spec.engine is not None:
            prepare(sparse=command.channel_group is not None)

    def _count_command(self) -> None:
        """Counts a command and requires that the drive still answers."""
        last = self._faults.faults.stop_after_commands
        if last is not None and self._commands >= last:
            raise DriveStopped(f"stopped after {last} commands and answers no more; go on without this drive")
        self._commands += 1

    def close(self) -> None:
        """Finishes the running command and gives the storage of all pages back; closing twice does nothing."""
        with self._lock:
            self._closed = True
            self._nand.arena.close()

    def _dispatch(self, command: Command, begin_s: float) -> _Outcome:
        match command:
            case Configure():
                return self._configure(command, begin_s)
            case Write():
                return self._write(command, begin_s)
            case Attend():
                return self._attend(command, begin_s)
            case Read():
                return self._read(command, begin_s)
            case Reclaim() | Release():
                return self._drop(command, begin_s)
            case Identify():
                identity = identify(self.name, self.spec, self._nand, self._tasks)
                return _Outcome(identity, begin_s, self._traffic())
            case Health():
                report = report_health(
                    self._nand,
                    self._free,
                    self._throttle,
                    self._tasks,
                    self._steps,
                    self._busy.read(begin_s),
                    scan=command.scan,
                )
                return _Outcome(report, begin_s, self._traffic())
        raise DriveError(f"{type(command).__name__} is no drive command; use one of runtime.csd's commands")

    def _configure(self, command: Configure, begin_s: float) -> _Outcome:
        traffic = self._traffic()
        self._tasks.configure(command, traffic)
        self._busy.restart(begin_s)
        self.prepare(command)
        self._throttle.erase(begin_s, traffic.blocks_erased)
        return _Outcome(None, begin_s, traffic)

    def _write(self, command: Write, begin_s: float) -> _Outcome:
        store = self._tasks.store(command.task)
        task = store.task
        check_layer(task, command.layer)
        shape = np.shape(command.key)
        if len(shape) != 4:
            raise DriveError(f"key has shape {shape}; give (n, kv_heads, tokens, head_size)")
        count, padded = shape[0], shape[2]
        heads = task.kv_heads(command.layer)
        expected = (count, heads, padded, task.head_size)
        key = check_kv(task, "key", command.key, expected)
        value = check_kv(task, "value", command.value, expected)
        rows = check_rows(task.rows(command.layer), command.rows, count)
        start = check_integers("start", command.start, count)
        lengths = np.full(count, padded)
        if command.lengths is not None:
            lengths = check_integers("lengths", command.lengths, count)
        if count and not 0 <= lengths.min() <= lengths.max() <= padded:
            raise DriveError(
                f"lengths {lengths.tolist()} are outside of the {padded} tokens given; "
                f"stay within 0 to {padded}"
            )
        store.check_append(command.layer, rows, start, lengths)
        self._lost.before_append(store, command.layer, rows, start)
        traffic = self._traffic()
        for index, (row, first, tokens) in enumerate(
            zip(rows.tolist(), start.tolist(), lengths.tolist(), strict=True)
        ):
            store.truncate(command.layer, row, first, traffic)
            try:
                store.append(command.layer, row, key[index, :, :tokens], value[index, :, :tokens], traffic)
            except CapacityError:
                store.truncate(command.layer, row, first, traffic)
                raise
        self._tasks.count_host_bytes(task, int(lengths.sum()) * heads * 2 * task.token_bytes)
        self._throttle.erase(begin_s, traffic.blocks_erased)
        reads = self._throttle.read(begin_s, traffic.pages_read)
        programs = self._throttle.program(reads.end_s, traffic.pages_programmed)
        background = self._throttle.read(programs.end_s, traffic.background_reads)
        buffered_s = self._throttle.move_dram(begin_s, traffic.dram_bytes)
        busy_s = reads.busy_s + programs.busy_s + background.busy_s
        return _Outcome(None, max(programs.end_s, buffered_s), traffic, busy_s)

    def _attend(self, command: Attend, begin_s: float) -> _Outcome:
        store = self._tasks.store(command.task)
        task = store.task
        if self.spec.engine is None:
            raise DriveError(
                "this drive has no engine; read its cache and attend elsewhere, or use a drive with one"
            )
        check_layer(task, command.layer)
        query = check_query(task, command.layer, command.query)
        rows = check_rows(task.rows(command.layer), command.rows, len(query))
        lengths = check_integers("lengths", command.lengths, len(query))
        if command.window is not None and command.window < 1:
            raise DriveError(f"window is {command.window}; give at least 1 token, or None for all")
        if command.soft_cap is not None and not command.soft_cap > 0.0:
            raise DriveError(f"soft_cap is {command.soft_cap}; give a positive number, or None for no cap")
        traffic = self._traffic()
        oldest = np.maximum(lengths - command.window, 0) if command.window else np.zeros_like(lengths)
        appends = command.key is not None or command.value is not None
        before = lengths - 1 if appends else lengths
        store.check_kept(command.layer, rows, oldest, before)
        sparse = command.sparse
        if sparse is not None:
            after = lengths if appends else store.lengths(command.layer)[rows]
            sparse = check_sparse(task, sparse, rows, oldest, lengths, after)
        self._lost.before_attend(store, command.layer, rows, oldest, lengths, sparse)
        if appends:
            self._append_one(store, command, rows, lengths, traffic)
        stored = store.lengths(command.layer)[rows]
        wrong = np.flatnonzero((lengths > stored) | (lengths < 0))
        if wrong.size:
            row, asked = int(rows[wrong[0]]), int(lengths[wrong[0]])
            raise DriveError(
                f"attend to {asked} tokens of sequence {row}, layer {command.layer}, which has "
                f"{int(stored[wrong[0]])}; write the missing tokens first or lower the length"
            )
        result = attend_stored(store, self._nand, command, sparse, rows, query, lengths)
        traffic.pages_read += result.pages_read
        span, engine_s = self._throttle.attend(
            begin_s, traffic.pages_read, result.flops, result.buffered_bytes, traffic.dram_bytes, result.steps
        )
        traffic.add_steps(result.steps)
        self._steps += traffic.steps
        with suppress(CapacityError):  # what finds no page stays in drive memory; the next token is refused
            store.flush_full(command.layer, rows, traffic)
        if result.steps is not None:
            num_pages = int(result.steps.pages.sum())
            self._lost.after_sparse(store, command.layer, rows, oldest, lengths, num_pages)
        self._throttle.erase(begin_s, traffic.blocks_erased)
        reads = self._throttle.read(span.end_s, traffic.background_reads)
        programs = self._throttle.program(reads.end_s, traffic.pages_programmed)
        busy_s = span.busy_s + reads.busy_s + programs.busy_s
        return _Outcome(result.output, span.end_s, traffic, busy_s, engine_s)

    def _append_one(
        self, store: KvStore, command: Attend, rows: np.ndarray, lengths: np.ndarray, traffic: Traffic
    ) -> None:
        """Stores the new token of an attend command; groups that it fills are flushed after the attention."""
        task = store.task
        if command.key is None or command.value is None:
            raise DriveError("attend has a new key or a new value without the other; give both or neither")
        shape = (len(rows), task.kv_heads(command.layer), task.head_size)
        key = check_kv(task, "key", command.key, shape)
        value = check_kv(task, "value", command.value, shape)
        store.check_append(command.layer, rows, lengths - 1, np.ones_like(lengths))
        self._lost.before_append(store, command.layer, rows, lengths - 1)
        for index in np.flatnonzero(lengths - 1 < store.lengths(command.layer)[rows]).tolist():
            store.truncate(command.layer, int(rows[index]), int(lengths[index]) - 1, traffic)
        store.append_one(command.layer, rows, key, value, traffic)
        self._tasks.count_host_bytes(task, key.nbytes + value.nbytes)

    def _read(self, command: Read, begin_s: float) -> _Outcome:
        store = self._tasks.store(command.task)
        task = store.task
        check_layer(task, command.layer)
        padded = task.max_len if command.num_tokens is None else command.num_tokens
        num_rows = task.rows(command.layer)
        rows = check_rows(num_rows, command.rows, num_rows if command.rows is None else np.size(command.rows))
        stored = store.lengths(command.layer)[rows]
        lengths = stored
        if command.lengths is not None:
            lengths = check_integers("lengths", command.lengths, len(rows))
        if (lengths < 0).any() or (lengths > stored).any() or (lengths > padded).any():
            raise DriveError(
                f"read of {lengths.tolist()} tokens into {padded}, from sequences that have "
                f"{stored.tolist()}; ask for no more than is stored and make num_tokens large enough"
            )
        first = np.zeros_like(lengths)
        if command.first is not None:
            first = check_integers("first", command.first, len(rows))
        if (first < 0).any():
            raise DriveError(f"first is {first.tolist()}; give tokens from 0 on")
        store.check_kept(command.layer, rows, first, lengths)
        self._lost.before_read(store, command.layer, rows, first, lengths)
        traffic = self._traffic()
        pair = store.read(command.layer, rows, first, lengths, padded, traffic)
        flash = self._throttle.read(begin_s, traffic.pages_read)
        buffered_s = self._throttle.move_dram(begin_s, traffic.dram_bytes)
        return _Outcome(pair, max(flash.end_s, buffered_s), traffic, flash.busy_s)

    def _drop(self, command: Reclaim | Release, begin_s: float) -> _Outcome:
        traffic = self._traffic()
        if isinstance(command, Reclaim):
            reclaim(self._tasks, command, self._lost, traffic)
        else:
            self._tasks.release(command.task, traffic)
        self._throttle.erase(begin_s, traffic.blocks_erased)
        self._throttle.read(begin_s, traffic.background_reads)
        return _Outcome(None, begin_s, traffic)

    def _traffic(self) -> Traffic:
        return Traffic(self.spec.flash.channels)

    def _complete(self, outcome: _Outcome, start_s: float, retries: int, compute_s: float) -> Completion:
        read = int(outcome.traffic.pages_read.sum())
        programmed = int(outcome.traffic.pages_programmed.sum())
        page_bytes = self.spec.flash.page_bytes
        detail = CommandDetail(
            pages_read=read,
            bytes_read=read * page_bytes,
            background_pages_read=int(outcome.traffic.background_reads.sum()),
            pages_programmed=programmed,
            bytes_programmed=programmed * page_bytes,
            read_retries=retries,
            pages_step_one=outcome.traffic.steps.pages_step_one,
            pages_step_two=outcome.traffic.steps.pages_step_two,
            entries_bytes=outcome.traffic.steps.entries_bytes,
            channel_s=outcome.channel_s,
            engine_s=outcome.engine_s,
            compute_s=compute_s,
        )
        return Completion(outcome.value, start_s, outcome.end_s, detail)
