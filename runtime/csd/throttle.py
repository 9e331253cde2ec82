"""When a real drive would be done: busy-until times of channels, dies, drive memory and engine.

Everything follows from the geometry and the data sheet's times.

- A read senses a page in its die (``t_read_s``) and moves it over the channel. A command exposes one sense
  per channel; later senses overlap with transfers, yet the planes behind a channel deliver no more than one
  page each per ``t_read_s``. Pages are striped over all planes, so the planes of a channel share the work
  evenly.
- A page that could not be corrected is sensed and transferred once more (a read retry), as soon as the controller has found
  out. Its sense hides behind the transfers of pages that are still to come from other planes; near the end of a read none are.
- A program moves a page over the channel, then keeps a plane for ``t_program_s``. Planes program side by
  side, so a channel programs a page every ``t_program_s / planes``. A write is done when its pages have been
  accepted at that rate: the drive's memory is protected against power loss, and the last pages may still be
  on their way into the cells.
- Reads suspend programs and erases, as flash allows, so the two meet on the channel only.
- Sparse attention reads twice. Every (sequence, KV head) pair of a command chooses its tokens when its pages of step one have
  arrived and passed the engine's pipeline (``setup_s``), and no page of its step two is sensed before. Pairs take turns in
  step one, each with an even part of the pages; step two follows on the channels in the same order, behind step one. So all
  but the first pair's choice, and the last pair's, hide behind the transfers of others.
- The engine starts with the first page and works while pages stream in. Every page passes its whole pipeline, so it
  is done no earlier than the time to fill that (``setup_s``) after the last page arrives.
"""

from dataclasses import dataclass

import numpy as np

from cost_models.hardware import DriveSpec, FaultSpec
from runtime.busy import BusyUntil
from runtime.csd.channel_reads import retried_read_s, steady_read_s
from runtime.csd.fault_plan import FaultPlan
from runtime.csd.sparse import TwoSteps


@dataclass(frozen=True)
class Occupied:
    """A span of emulated time.

    Attributes:
        begin_s: When the first resource begins.
        end_s: When the last one ends.
        busy_s: Seconds that the busiest resource is occupied.
    """

    begin_s: float
    end_s: float
    busy_s: float


class Throttle:
    """The resources of one drive.

    Attributes:
        channels: One for each channel's wires.
        planes: One for the planes behind each channel, as far as they program or erase.
        dram: Drive memory.
        engine: The attention engine; never reserved on a plain SSD.
        read_retries: Page reads so far that were repetitions.
    """

    def __init__(self, spec: DriveSpec, name: str, faults: FaultPlan | None = None) -> None:
        self.read_retries = 0
        self._spec = spec
        self._faults = faults or FaultPlan(spec.faults or FaultSpec(), name)
        self._planes_per_channel = spec.flash.dies_per_channel * spec.flash.planes_per_die
        count = range(spec.flash.channels)
        self.channels = tuple(BusyUntil(f"{name}.channel{index}") for index in count)
        self.planes = tuple(BusyUntil(f"{name}.planes{index}") for index in count)
        self.dram = BusyUntil(f"{name}.dram")
        self.engine = BusyUntil(f"{name}.engine")

    @property
    def has_engine(self) -> bool:
        """Whether the drive can attend."""
        return self._spec.engine is not None

    def read(self, start_s: float, pages: np.ndarray) -> Occupied:
        """Reads ``pages``, int ``[channels]``, at or after ``start_s``."""
        return _together(start_s, list(self._stream(start_s, pages).values()))

    def _stream(self, start_s: float, pages: np.ndarray) -> dict[int, Occupied]:
        """Reads ``pages``, int ``[channels]``, and returns how long that takes on each channel with any."""
        flash = self._spec.flash
        retried = self._faults.retried(pages)
        spans: dict[int, Occupied] = {}
        steady_s: dict[int, float] = {}  # channels often read equal numbers of pages
        for channel, count in _counted(pages):
            if retried is None:
                seconds = steady_s[count] if count in steady_s else steady_read_s(flash, count)
                steady_s[count] = seconds
            else:
                seconds = retried_read_s(flash, count, *retried.of_channel(channel))
            begin_s, end_s = self.channels[channel].reserve(start_s + flash.t_read_s, seconds)
            spans[channel] = Occupied(begin_s, end_s, seconds)
        if retried is not None:
            self.read_retries += int(retried.retries.sum())
        return spans

    def _read_in_steps(self, start_s: float, pages: np.ndarray, steps: TwoSteps, setup_s: float) -> Occupied:
        """Reads the pages of sparse attention, and others, ``[channels]``, that wait for no choice."""
        one = self._stream(start_s, steps.step_one)
        first_chosen_s = setup_s + max(
            (span.begin_s + span.busy_s / steps.num_pairs for span in one.values()), default=start_s
        )
        last_chosen_s = setup_s + max((span.end_s for span in one.values()), default=start_s)
        others = self._stream(start_s, pages)
        two = self._stream(first_chosen_s, steps.step_two)
        last_sensed_s = last_chosen_s + self._spec.flash.t_read_s
        last_s = [last_sensed_s + span.busy_s / steps.num_pairs for span in two.values()]
        whole = _together(start_s, [*one.values(), *others.values(), *two.values()])
        busy_s = [0.0] * len(self.channels)
        for part in (one, others, two):
            for channel, span in part.items():
                busy_s[channel] += span.busy_s
        return Occupied(whole.begin_s, max([whole.end_s, *last_s]), max(busy_s))

    def program(self, start_s: float, pages: np.ndarray) -> Occupied:
        """Accepts and programs ``pages``, int ``[channels]``, at or after ``start_s``."""
        flash = self._spec.flash
        transfer_s = flash.page_bytes / flash.channel_bytes_per_s
        spans = []
        for channel, count in _counted(pages):
            begin_s, sent_s = self.channels[channel].reserve(start_s, count * transfer_s)
            seconds = count * flash.t_program_s / self._planes_per_channel
            _, done_s = self.planes[channel].reserve(begin_s + transfer_s, seconds)
            spans.append(Occupied(begin_s, max(sent_s, done_s), max(count * transfer_s, seconds)))
        return _together(start_s, spans)

    def erase(self, start_s: float, blocks: np.ndarray) -> None:
        """Erases ``blocks``, int ``[channels]``, in the background: later programs wait, nothing else."""
        for channel, count in _counted(blocks):
            seconds = count * self._spec.flash.t_erase_s / self._planes_per_channel
            self.planes[channel].reserve(start_s, seconds)

    def move_dram(self, start_s: float, num_bytes: int) -> float:
        """Moves bytes to or from drive memory and returns when that is done."""
        if num_bytes == 0:
            return start_s
        return self.dram.reserve(start_s, num_bytes / self._spec.dram_bytes_per_s)[1]

    def attend(
        self,
        start_s: float,
        pages: np.ndarray,
        flops: float,
        buffered_bytes: int,
        appended_bytes: int,
        steps: TwoSteps | None = None,
    ) -> tuple[Occupied, float]:
        """Streams ``pages``, int ``[channels]``, and buffered tokens through the engine.

        Args:
            start_s: When the command is understood.
            pages: Pages read on each channel, less those of ``steps``.
            flops: Floating-point operations of the engine.
            buffered_bytes: Bytes of keys and values that the engine takes from the group buffer.
            appended_bytes: Bytes of the new token, which go to the group buffer.
            steps: Pages that sparse attention reads.

        Returns:
            The whole span, whose ``busy_s`` is the busiest channel's, and the engine's seconds.

        Raises:
            ValueError: The drive has no engine.
        """
        engine = self._spec.engine
        if engine is None:
            raise ValueError("a drive without an engine cannot attend; read its pages instead")
        num_pages = int(pages.sum())
        if steps is None:
            flash = self.read(start_s, pages)
        else:
            flash = self._read_in_steps(start_s, pages, steps, engine.setup_s)
            num_pages += int(steps.pages.sum())
        buffered_s = self.move_dram(start_s, buffered_bytes + appended_bytes)
        ingest_bytes = num_pages * self._spec.flash.page_bytes + buffered_bytes
        seconds = engine.setup_s + max(flops / engine.flops, ingest_bytes / engine.bytes_per_s)
        _, engine_end_s = self.engine.reserve(flash.begin_s, seconds)
        end_s = max(max(flash.end_s, buffered_s) + engine.setup_s, engine_end_s)
        return Occupied(start_s, end_s, flash.busy_s), seconds


def _counted(numbers: np.ndarray) -> list[tuple[int, int]]:
    """Returns (channel, number) where a number, of int ``[channels]``, is not 0."""
    return [(channel, count) for channel, count in enumerate(numbers.tolist()) if count]


def _together(start_s: float, spans: list[Occupied]) -> Occupied:
    """Returns the hull of spans that run side by side; an empty one at ``start_s`` without any."""
    if not spans:
        return Occupied(start_s, start_s, 0.0)
    return Occupied(
        begin_s=min([span.begin_s for span in spans]),
        end_s=max([span.end_s for span in spans]),
        busy_s=max([span.busy_s for span in spans]),
    )
