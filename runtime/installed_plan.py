"""A plan brought up on a system: caches configured, weights placed, executables compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from partitioner.errors import PartitionError
from partitioner.jaxpr import shape_of
from partitioner.plan.bind import BoundModel, bind_model
from partitioner.plan.plan import Plan
from runtime.csd import FileBacking
from runtime.drive_pool import DrivePool
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.generation import Generator
from runtime.pace import Pace, VirtualPace
from runtime.phases import Phases, Progress
from runtime.streams import Executor
from runtime.system import System
from runtime.virtual_executor import VirtualExecutor
from runtime.wall_executor import WallExecutor


@dataclass(frozen=True, eq=False)
class InstalledPlan:
    """Holds a plan and what runs it.

    Attributes:
        plan: The plan.
        system: Its devices, links and caches.
        phases: What is compiled of it.
        generator: Runs its phases for a batch.
        tokenizer: The model's, or None.
    """

    plan: Plan
    system: System
    phases: Phases
    generator: Generator
    tokenizer: Any

    @property
    def vocab_size(self) -> int:
        """Returns the tokens that the model knows."""
        return shape_of(self.plan.decode.graph.phase.outputs[0].atom)[-1]

    @property
    def is_fed(self) -> bool:
        """Tells whether prompts go in token by token, in decode steps."""
        return self.plan.prefill is None


class Workbench:
    """Brings up one plan after the other for a model, on one clock and one set of drives.

    Args:
        plan: The first plan; its system is the one that all of them run on.
        model: The model, with values.
        pace: The clock, and how work relates to it.
        progress: Told of stages.
        drive_folder: Folder for the pages of drives; None: memory.
        command_timeout_s: Seconds without an answer after which a drive is given up.

    Attributes:
        model: The model.
        pace: The clock, and how work relates to it.
        log: What happened.
        pool: The drives.
        executor: Orders steps.
        progress: Told of stages.
    """

    def __init__(
        self,
        plan: Plan,
        model: Any,
        pace: Pace,
        progress: Progress,
        drive_folder: str | Path | None,
        command_timeout_s: float,
    ) -> None:
        backing = None if drive_folder is None else FileBacking(Path(drive_folder))
        self.model = model
        self.pace = pace
        self.progress = progress
        self.log = EventLog()
        self.pool = DrivePool(plan.hw, pace, self.log, backing, command_timeout_s)
        self._placed: Mapping[str, Mapping[str, jax.Array]] = {}
        self.executor: Executor = VirtualExecutor() if isinstance(pace, VirtualPace) else WallExecutor()

    def install(self, plan: Plan) -> InstalledPlan:
        """Brings a plan up; what another one kept on the drives is dropped, and its weights stay where this one wants them.

        Raises:
            SessionError: The model is not the one of the plan, or the runtime cannot execute the plan.
        """
        bound = _bind(plan, self.model)
        system = System(plan, self.pace, self.log, self.pool)
        system.load(plan, bound, lambda done, total: self.progress("loading", done, total), self._placed)
        self._placed = system.placed
        phases = Phases(plan, system, self.executor, self.progress)
        return InstalledPlan(plan, system, phases, Generator(phases), bound.tokenizer)

    def close(self) -> None:
        """Ends all threads and gives back what the drives hold; closing twice does nothing."""
        self._placed = {}
        self.executor.close()
        self.pool.close()


def check_plan(plan: Any) -> None:
    """Requires a plan.

    Raises:
        SessionError: It is something else.
    """
    if not isinstance(plan, Plan):
        raise SessionError(
            f"plan is a {type(plan).__name__}; give what partition(model, hw, workload, policy) or Plan.load(path, model) gives"
        )
    if plan.predicted_only:
        raise SessionError(
            f"plans under policy {plan.policy!r} are predicted and cannot be run: the runtime has no GPU that attends "
            "sparsely; choose policy 'flexgen-ssd', or 'instinfer', under which drives attend sparsely"
        )


def _bind(plan: Plan, model: Any) -> BoundModel:
    """Returns the weights of the plan's model.

    Raises:
        SessionError: The model is another one, or has no values.
    """
    try:
        return bind_model(plan, model)
    except PartitionError as error:
        raise SessionError(str(error)) from error
