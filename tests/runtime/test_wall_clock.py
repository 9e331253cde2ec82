"""On the wall clock devices overlap in threads: same tokens, never faster than emulated, and no failure hangs."""

import dataclasses
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cost_models import HardwareSpec
from partitioner import Plan, Workload, partition
from runtime import GenerationResult, Session, SessionError
from runtime.devices.csd import StorageDrive
from runtime.devices.processor import Processor
from tests.runtime.forced_plans import forced_plan
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    demo_hardware,
    plain_tokens,
    plan_for,
    transformer,
)

HANG_S = 60.0
NUM_TOKENS = 5


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Lets SIGINT raise, which shells turn off for what they run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(plan_for(transformer(), "instinfer", 3), transformer(), clock="wall") as session:
        yield session


def within(seconds: float, action: Callable[[], Any]) -> BaseException | None:
    """Runs an action in a thread of its own and returns what it raised; fails if it has not ended in time."""
    raised: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still running after {seconds:g} s"
    return raised[0] if raised else None


def fail_at(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: int, error: Exception) -> None:
    """Makes one call of a method raise."""
    count = iter(range(10**6))
    original = getattr(owner, method)

    def failing(self: Any, *args: Any, **options: Any) -> Any:
        if next(count) == call:
            raise error
        return original(self, *args, **options)

    monkeypatch.setattr(owner, method, failing)


def lanes() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("lane-")}


@pytest.mark.parametrize("policy", ["flexgen-ssd", "instinfer"])
def test_tokens_equal_plain_jit(policy: str) -> None:
    with Session(plan_for(transformer(), policy, 3), transformer(), clock="wall") as session:
        result = session.generate(PROMPTS, NUM_TOKENS)
    assert result.tokens == plain_tokens(transformer(), PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
    assert 0.0 < result.fidelity <= 1.0
    assert all(e.start_s >= 0.0 for e in result.timeline.events)
    assert result.timeline.end_s <= result.total_s * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_tokens_of_drawn_placements_equal_plain_jit(seed: int) -> None:
    model = transformer("float16", num_kv_heads=2, num_layers=3)
    hw = demo_hardware(2).replace("drive.flash.page_bytes", 128)
    with Session(forced_plan(model, hw, WORKLOAD, seed), model, clock="wall") as session:
        result = session.generate(PROMPTS, NUM_TOKENS)
    assert result.tokens == plain_tokens(model, PROMPTS, NUM_TOKENS, WORKLOAD.max_len)


@pytest.mark.parametrize("policy", ["gpu-only", "deepspeed-host", "instinfer"])
def test_a_processor_that_is_not_emulated_runs_as_it_can(policy: str) -> None:
    """A GPU whose rates would take minutes is not held to them; what it did is logged when somebody waits for it."""
    hw = demo_hardware().replace("gpu.launch_s", 60.0)
    hw = dataclasses.replace(hw, gpus=tuple(dataclasses.replace(gpu, emulated=False) for gpu in hw.gpus))
    plan = partition(transformer(), hw, WORKLOAD, policy)
    with Session(plan, transformer(), clock="wall") as session:
        first, second = (session.generate(PROMPTS, NUM_TOKENS) for _ in range(2))
    expected = plain_tokens(transformer(), PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
    assert first.tokens == second.tokens == expected
    for result in (first, second):
        busy = result.timeline.busy_s()
        assert 0.0 < busy["gpu0"] <= result.total_s < 60.0
        assert all(e.start_s >= 0.0 for e in result.timeline.events)


class TestTime:
    """Real seconds beside emulated ones, on hardware so slow that this machine's own work hardly counts."""

    WORKLOAD = Workload(batch_size=2, prompt_len=12, decode_len=4)
    PROMPTS = ([7] * 12, [9] * 12)

    def plan(self) -> Plan:
        return partition(transformer(), HardwareSpec.load("demo").slowed(8), self.WORKLOAD, "instinfer")

    def run(self, plan: Plan, clock: Any) -> GenerationResult:
        with Session(plan, transformer(), clock=clock) as session:
            return session.generate(self.PROMPTS, 4)

    def test_real_time_is_at_least_the_emulated_and_close_to_the_predicted(self) -> None:
        """The lower bound holds always. Noise only adds, so the best of a few runs shows how good the throttle is."""
        plan = self.plan()
        emulated = self.run(plan, "virtual").total_s
        best = float("inf")
        for _ in range(5):
            began = time.perf_counter()
            result = self.run(plan, "wall")
            assert emulated * 0.99 <= result.total_s <= time.perf_counter() - began
            best = min(best, result.total_s)
            if best <= plan.total_seconds * 1.15:
                break
        assert best == pytest.approx(plan.total_seconds, rel=0.15)


class TestFailures:
    """One step that fails ends them all, with one error, and the session is fit for the next generation."""

    @pytest.mark.parametrize(
        ("owner", "method", "call", "message"),
        [
            (StorageDrive, "attend", 4, "decode failed in blocks.*attention: OSError: the flash is gone"),
            (StorageDrive, "write", 1, "prefill failed in store_cache blocks.*: OSError: the flash is gone"),
            (Processor, "account", 5, "decode failed in .*: OSError: the flash is gone"),
        ],
    )
    def test_a_failing_worker_does_not_hang(
        self,
        session: Session,
        monkeypatch: pytest.MonkeyPatch,
        owner: type,
        method: str,
        call: int,
        message: str,
    ) -> None:
        expected = plain_tokens(transformer(), PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
        with monkeypatch.context() as patched:
            fail_at(patched, owner, method, call, OSError("the flash is gone"))
            error = within(HANG_S, lambda: session.generate(PROMPTS, NUM_TOKENS))
        assert isinstance(error, SessionError)
        assert isinstance(error.__cause__, OSError)
        with pytest.raises(SessionError, match=message):
            raise error
        assert session.generate(PROMPTS, NUM_TOKENS).tokens == expected

    @pytest.mark.usefixtures("_interruptible")
    def test_an_interrupt_ends_the_generation_and_not_the_session(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ctrl-C while the main thread waits: nothing is under way afterwards."""
        attend = StorageDrive.attend
        numbers = itertools.count(1)
        begun: list[int] = []

        def interrupted(self: StorageDrive, *args: Any) -> Any:
            number = next(numbers)
            begun.append(number)
            if number == 4:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                time.sleep(0.05)
            return attend(self, *args)

        with monkeypatch.context() as patched:
            patched.setattr(StorageDrive, "attend", interrupted)
            with pytest.raises(KeyboardInterrupt):
                session.generate(PROMPTS, NUM_TOKENS)
            assert lanes() == set()
            so_far = len(begun)
            time.sleep(0.05)
            assert len(begun) == so_far < 24
        expected = plain_tokens(transformer(), PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
        assert session.generate(PROMPTS, NUM_TOKENS).tokens == expected

    def test_leaving_a_session_by_an_error_ends_its_threads(self) -> None:
        def interrupt(row: int, token: int) -> None:
            raise KeyboardInterrupt

        with (
            pytest.raises(KeyboardInterrupt),
            Session(plan_for(transformer(), "instinfer"), transformer(), clock="wall") as session,
        ):
            session.generate(PROMPTS, NUM_TOKENS, on_token=interrupt)
        assert lanes() == set()
