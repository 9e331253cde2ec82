"""The session: a plan, a model's weights, and the devices they run on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from partitioner.errors import PartitionError
from partitioner.jaxpr import shape_of
from partitioner.plan.bind import BoundModel, bind_model
from partitioner.plan.plan import Plan
from runtime.csd import FileBacking
from runtime.csd.queue import IO_TIMEOUT_S
from runtime.errors import SessionError
from runtime.generation import Generator, OnToken, Progress, rows_of
from runtime.pace import VirtualPace, make_pace
from runtime.prompts import Prompt, check_new_tokens, line_up
from runtime.result import GenerationResult
from runtime.system import System
from runtime.virtual_executor import VirtualExecutor
from runtime.wall_executor import WallExecutor


class Session:
    """Executes a plan.

    Opening a session places the weights and compiles; generating then takes only the time that it reports. A generation that
    fails or is interrupted leaves the session fit for the next one.

    Args:
        plan: What to run.
        model: The model it was made for, with values.
        clock: ``wall`` lets devices and links overlap for real and holds emulated ones to their rates; ``virtual`` computes the
            same values without waiting and takes all times from the mechanism.
        progress: Told of loading, compiling, prefill and decode: stage, done, total.
        drive_folder: Folder in which drives keep their pages, in files that are gone when the session is closed; None: memory.
        command_timeout_s: Seconds without an answer, by the session's clock, after which a drive is given up.

    Raises:
        SessionError: An unknown clock, a model that is abstract or not the one of the plan, or a plan that the runtime cannot
            execute.
    """

    def __init__(
        self,
        plan: Plan,
        model: Any,
        clock: Literal["wall", "virtual"] = "wall",
        progress: Progress | None = None,
        *,
        drive_folder: str | Path | None = None,
        command_timeout_s: float = IO_TIMEOUT_S,
    ) -> None:
        pace = make_pace(clock)
        if pace is None:
            raise SessionError(f"unknown clock {clock!r}; use 'wall' or 'virtual'")
        bound = _bind(plan, model)
        told: Progress = progress or (lambda stage, done, total: None)
        self._plan = plan
        self._tokenizer = bound.tokenizer
        self._closed = False
        self._executor = VirtualExecutor() if isinstance(pace, VirtualPace) else WallExecutor()
        backing = None if drive_folder is None else FileBacking(Path(drive_folder))
        self._system = System(plan, pace, backing, command_timeout_s)
        try:
            self._system.load(plan, bound, lambda done, total: told("loading", done, total))
            self._generator = Generator(plan, self._system, self._executor, told)
        except BaseException:
            self._system.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the session's threads and drops what its drives hold; closing twice does nothing."""
        self._closed = True
        self._executor.close()
        self._system.close()

    def generate(
        self, prompts: Sequence[Prompt], max_new_tokens: int = 64, on_token: OnToken | None = None
    ) -> GenerationResult:
        """Generates from every prompt, always taking the likeliest next token.

        Args:
            prompts: Texts, or sequences of token ids; lengths may differ. Up to the plan's batch size.
            max_new_tokens: New tokens for each.
            on_token: Called with row and token as soon as a token is known; makes the host wait for every step.

        Raises:
            SessionError: Prompts or length are not what the plan has room for, the session is closed, a step failed, or
                logits were not finite.
        """
        if self._closed:
            raise SessionError("the session is closed; open a new one")
        workload = self._plan.workload
        vocab_size = shape_of(self._plan.decode.graph.phase.outputs[0].atom)[-1]
        num_tokens = check_new_tokens(max_new_tokens, workload)
        batch = line_up(prompts, workload, vocab_size, self._tokenizer)
        system = self._system
        system.clear()
        system.log.take(0.0)
        system.pace.restart()
        origin_s = system.pace.clock.now_s()
        made = self._generator.generate(batch, num_tokens, origin_s, on_token)
        tokens = rows_of(made, batch, num_tokens, fed=self._plan.prefill is None)
        return GenerationResult(
            tokens=tokens,
            texts=None if self._tokenizer is None else [self._tokenizer.decode(row) for row in tokens],
            timeline=system.log.take(origin_s),
            prefill_s=made.prefill_end_s - origin_s,
            decode_s=made.end_s - made.prefill_end_s,
            drive_health={name: drive.health() for name, drive in system.drives.items()},
            fidelity=system.pace.fidelity,
        )


def _bind(plan: Plan, model: Any) -> BoundModel:
    """Returns the weights of the plan's model.

    Raises:
        SessionError: One of the two is something else.
    """
    if not isinstance(plan, Plan):
        raise SessionError(
            f"plan is a {type(plan).__name__}; give what partition(model, hw, workload, policy) or Plan.load(path, model) gives"
        )
    try:
        return bind_model(plan, model)
    except PartitionError as error:
        raise SessionError(str(error)) from error
