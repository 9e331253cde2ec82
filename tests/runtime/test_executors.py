"""The order in which steps of one or several streams are performed, on both clocks, with resources that count seconds."""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from runtime import SessionError
from runtime.busy import BusyUntil
from runtime.clock import VirtualClock, WallClock
from runtime.streams import Executor, GivenFrames
from runtime.virtual_executor import VirtualExecutor
from runtime.wall_executor import WallExecutor

LIMIT_S = 30.0


@dataclass(frozen=True)
class FakeStep:
    """A use of one resource."""

    id: int
    lane: str
    seconds: float
    after: tuple[int, ...]
    num_parts: int = 1


class FakeRunner:
    """Performs steps on resources that are busy for a while, and notes when.

    Args:
        steps: Resource, seconds and predecessors of each.
        busy: Resources, shared by runners.
        clock: The clock.
        act: What a step does for real.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, float, tuple[int, ...]]],
        busy: dict[str, BusyUntil],
        clock: Any = None,
        act: Callable[[str, int], None] = lambda frame, step: None,
    ) -> None:
        listed = [FakeStep(i, *step) for i, step in enumerate(steps)]
        self.program: Any = SimpleNamespace(
            name="decode",
            phase=SimpleNamespace(steps=listed),
            lanes=tuple(s.lane for s in listed),
            threads=tuple(s.lane for s in listed),
            successors=tuple(tuple(s.id for s in listed if i in s.after) for i in range(len(listed))),
            label=lambda step: f"step {step.id}",
        )
        self.clock = clock or VirtualClock()
        self.spans: dict[tuple[str, int], tuple[float, float]] = {}
        self._busy, self._act = busy, act

    def num_parts(self, step: Any) -> int:
        return step.num_parts

    def perform(self, frame: Any, step: Any, ready_s: float, part: int) -> float:
        self._act(frame, step.id)
        busy = self._busy.setdefault(step.lane, BusyUntil(step.lane))
        self.spans[frame, step.id] = busy.reserve(ready_s, step.seconds)
        return self.spans[frame, step.id][1]


class Tokens:
    """A stream of one frame after the other, called ``A0``, ``A1``, ..."""

    def __init__(self, runner: Any, name: str, count: int) -> None:
        self.runner = runner
        self.asked: list[float] = []
        self._names = [f"{name}{i}" for i in range(count)]

    def frames(self, now_s: float) -> Any:
        self.asked.append(now_s)
        return (self._names.pop(0),) if self._names else ()


GPU_THEN_DRIVE = (("gpu0", 1.0, ()), ("csd0", 1.0, (0,)))


class TestVirtual:
    """Exact times."""

    def test_one_stream_goes_step_by_step(self) -> None:
        runner = FakeRunner(GPU_THEN_DRIVE, {})
        stream = Tokens(runner, "A", 3)
        assert VirtualExecutor().run([stream], 10.0) == 16.0
        assert stream.asked == [10.0, 12.0, 14.0, 16.0]
        assert runner.clock.now_s() == 16.0

    def test_two_streams_fill_each_others_gaps_without_a_barrier(self) -> None:
        """A's next token is on the GPU while the drive is at B's last one."""
        busy: dict[str, BusyUntil] = {}
        a, b = FakeRunner(GPU_THEN_DRIVE, busy), FakeRunner(GPU_THEN_DRIVE, busy)
        assert VirtualExecutor().run([Tokens(a, "A", 2), Tokens(b, "B", 2)], 0.0) == 5.0
        assert a.spans == {("A0", 0): (0, 1), ("A0", 1): (1, 2), ("A1", 0): (2, 3), ("A1", 1): (3, 4)}
        assert b.spans == {("B0", 0): (1, 2), ("B0", 1): (2, 3), ("B1", 0): (3, 4), ("B1", 1): (4, 5)}

    def test_a_longer_stream_goes_on_alone(self) -> None:
        busy: dict[str, BusyUntil] = {}
        a, b = FakeRunner(GPU_THEN_DRIVE, busy), FakeRunner(GPU_THEN_DRIVE, busy)
        assert VirtualExecutor().run([Tokens(a, "A", 1), Tokens(b, "B", 3)], 0.0) == 7.0

    def test_the_one_that_is_further_behind_goes_first(self) -> None:
        """Both want the GPU at 2 s: A for its second token, B, whose first step was longer, still for its first."""
        busy: dict[str, BusyUntil] = {}
        a = FakeRunner((("a", 2.0, ()), ("gpu0", 1.0, ())), busy)
        b = FakeRunner((("b", 2.0, ()), ("gpu0", 1.0, (0,))), busy)
        VirtualExecutor().run([Tokens(a, "A", 2), Tokens(b, "B", 1)], 0.0)
        assert b.spans["B0", 1] == (2, 3)
        assert a.spans["A1", 1] == (3, 4)

    def test_what_waits_on_a_link_lets_others_pass(self) -> None:
        """Weights stream while the GPU still computes what is to be handed over on the same link."""
        steps = (("gpu0", 1.0, ()), ("down", 1.0, (0,)), ("down", 1.0, ()), ("gpu0", 1.0, (1, 2)))
        runner = FakeRunner(steps, {})
        assert VirtualExecutor().run([Tokens(runner, "A", 1)], 0.0) == 3.0
        assert runner.spans["A0", 2] == (0, 1)

    def test_frames_given_together_pass_each_resource_in_order(self) -> None:
        """The second slice leaves the GPU to the first until that is done with it, and its own link is free meanwhile."""
        steps = (("gpu0", 1.0, ()), ("up", 2.0, (0,)), ("gpu0", 1.0, (1,)), ("down", 1.0, (2,)))
        runner = FakeRunner(steps, {})
        assert VirtualExecutor().run([GivenFrames(runner, ("A", "B"))], 0.0) == 9.0  # type: ignore[arg-type]
        firsts = [runner.spans[frame, 0] for frame in "AB"]
        assert firsts == [(0, 1), (4, 5)]
        assert runner.spans["A", 3] == (4, 5)

    def test_an_error_names_the_step(self) -> None:
        def act(frame: str, step: int) -> None:
            if (frame, step) == ("A1", 1):
                raise OSError("the flash is gone")

        runner = FakeRunner(GPU_THEN_DRIVE, {}, act=act)
        with pytest.raises(SessionError, match="decode failed in step 1: OSError: the flash is gone"):
            VirtualExecutor().run([Tokens(runner, "A", 3)], 0.0)


class TestWall:
    """Real threads; what must overlap meets at a barrier, so that no test depends on seconds."""

    def runners(self, act: Callable[[str, int], None]) -> list[FakeRunner]:
        clock, busy = WallClock(), {}
        steps = (("gpu0", 0.0, ()), ("csd0", 0.0, (0,)))
        return [FakeRunner(steps, busy, clock, act) for _ in range(2)]

    def test_a_token_of_one_stream_overlaps_the_last_token_of_the_other(self) -> None:
        meeting = threading.Barrier(2)

        def act(frame: str, step: int) -> None:
            if (frame, step) in (("A1", 0), ("B0", 1)):
                meeting.wait(LIMIT_S)

        a, b = self.runners(act)
        with closing(WallExecutor()) as executor:
            executor.run([Tokens(a, "A", 2), Tokens(b, "B", 2)], 0.0)
        assert not meeting.broken
        assert len(a.spans) == len(b.spans) == 4

    def test_a_step_that_waits_holds_up_no_other_in_its_lane(self) -> None:
        """The first step ends only once the last in plan order, on the lane of the second, is done."""
        passed = threading.Event()

        def act(frame: str, step: int) -> None:
            if step == 0:
                assert passed.wait(LIMIT_S)
            elif step == 2:
                passed.set()

        steps = (("gpu0", 0.0, ()), ("down", 0.0, (0,)), ("down", 0.0, ()))
        with closing(WallExecutor()) as executor:
            executor.run([Tokens(FakeRunner(steps, {}, WallClock(), act), "A", 1)], 0.0)

    def test_a_failing_stream_ends_the_other_and_the_executor_goes_on(self) -> None:
        begun: list[str] = []

        def act(frame: str, step: int) -> None:
            begun.append(frame)
            if frame == "B2":
                raise OSError("the flash is gone")

        a, b = self.runners(act)
        with closing(WallExecutor()) as executor:
            with pytest.raises(
                SessionError, match="decode failed in step 0: OSError: the flash is gone"
            ) as caught:
                executor.run([Tokens(a, "A", 10**5), Tokens(b, "B", 10)], 0.0)
            assert isinstance(caught.value.__cause__, OSError)
            so_far = len(begun)
            assert not lanes()
            executor.run([Tokens(a, "C", 3)], 0.0)
            assert len(begun) == so_far + 6

    def test_an_error_between_frames_ends_all(self) -> None:
        class Failing(Tokens):
            def frames(self, now_s: float) -> Any:
                if self.asked:
                    raise KeyboardInterrupt
                return super().frames(now_s)

        a, b = self.runners(lambda frame, step: None)
        executor: Executor = WallExecutor()
        with pytest.raises(KeyboardInterrupt):
            executor.run([Tokens(a, "A", 10**5), Failing(b, "B", 2)], 0.0)
        assert not lanes()

    def test_nothing_to_run(self) -> None:
        for executor in (WallExecutor(), VirtualExecutor()):
            assert executor.run([], 3.0) == 3.0


def lanes() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("lane-")}
