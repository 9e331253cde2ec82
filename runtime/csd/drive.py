"""The drive: executes commands on real bytes and says when a real drive would be done."""

import threading
import time

from cost_models.hardware import DriveSpec, FaultSpec
from runtime.csd.attention import prepare
from runtime.csd.backing import NoBacking, arena_of
from runtime.csd.busy_shares import BusyMeter
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
from runtime.csd.errors import DriveError, DriveStopped
from runtime.csd.execute_attend import execute_attend
from runtime.csd.execute_read import execute_read
from runtime.csd.execute_write import execute_write
from runtime.csd.fault_plan import FaultPlan
from runtime.csd.file_backing import FileBacking
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.geometry import Geometry
from runtime.csd.health import identify, report_health
from runtime.csd.lost_pages import LostPages
from runtime.csd.nand import NandArray
from runtime.csd.outcome import Outcome
from runtime.csd.reclaim import reclaim
from runtime.csd.records import CommandDetail, Completion
from runtime.csd.sparse import StepCounts
from runtime.csd.tasks import Tasks
from runtime.csd.throttle import Throttle
from runtime.csd.traffic import Traffic


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
                traffic = Traffic(self.spec.flash.channels)
                outcome = self._dispatch(command, start_s + self.spec.command_s, traffic)
            except DriveError as error:
                raise error.of_drive(self.name) from error
            retries = self._throttle.read_retries - retries
            self._steps += traffic.steps
            detail = self._detail(outcome, traffic, retries, time.perf_counter() - began_s)
            return Completion(outcome.value, start_s, outcome.end_s, detail)

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

    def _dispatch(self, command: Command, begin_s: float, traffic: Traffic) -> Outcome:
        tasks, lost, throttle = self._tasks, self._lost, self._throttle
        match command:
            case Configure():
                return self._configure(command, begin_s, traffic)
            case Write():
                return execute_write(command, tasks, lost, throttle, begin_s, traffic)
            case Attend():
                return execute_attend(command, tasks, self._nand, lost, throttle, begin_s, traffic)
            case Read():
                return execute_read(command, tasks, lost, throttle, begin_s, traffic)
            case Reclaim() | Release():
                return self._drop(command, begin_s, traffic)
            case Identify():
                return Outcome(identify(self.name, self.spec, self._nand, tasks), begin_s)
            case Health():
                busy_shares = self._busy.read(begin_s)
                report = report_health(
                    self._nand, self._free, throttle, tasks, self._steps, busy_shares, scan=command.scan
                )
                return Outcome(report, begin_s)
        raise DriveError(f"{type(command).__name__} is no drive command; use one of runtime.csd's commands")

    def _configure(self, command: Configure, begin_s: float, traffic: Traffic) -> Outcome:
        self._tasks.configure(command, traffic)
        self._busy.restart(begin_s)
        self.prepare(command)
        self._throttle.erase(begin_s, traffic.blocks_erased)
        return Outcome(None, begin_s)

    def _drop(self, command: Reclaim | Release, begin_s: float, traffic: Traffic) -> Outcome:
        if isinstance(command, Reclaim):
            reclaim(self._tasks, command, self._lost, traffic)
        else:
            self._tasks.release(command.task, traffic)
        self._throttle.erase(begin_s, traffic.blocks_erased)
        self._throttle.read(begin_s, traffic.background_reads)
        return Outcome(None, begin_s)

    def _detail(self, outcome: Outcome, traffic: Traffic, retries: int, compute_s: float) -> CommandDetail:
        read, programmed = int(traffic.pages_read.sum()), int(traffic.pages_programmed.sum())
        page_bytes = self.spec.flash.page_bytes
        return CommandDetail(
            pages_read=read,
            bytes_read=read * page_bytes,
            background_pages_read=int(traffic.background_reads.sum()),
            pages_programmed=programmed,
            bytes_programmed=programmed * page_bytes,
            read_retries=retries,
            pages_step_one=traffic.steps.pages_step_one,
            pages_step_two=traffic.steps.pages_step_two,
            entries_bytes=traffic.steps.entries_bytes,
            channel_s=outcome.channel_s,
            engine_s=outcome.engine_s,
            compute_s=compute_s,
        )
