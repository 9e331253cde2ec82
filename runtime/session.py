"""The session: a plan, a model's weights, and the devices they run on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from partitioner.plan.plan import Plan
from runtime.csd.queue import IO_TIMEOUT_S
from runtime.errors import SessionError
from runtime.fault_tolerant_run import FaultTolerantRun
from runtime.generation import OnToken
from runtime.installed_plan import InstalledPlan, Workbench, check_plan
from runtime.pace import make_pace
from runtime.phases import Progress
from runtime.prompts import Prompt, check_new_tokens, line_up
from runtime.replan import replan
from runtime.request import Request
from runtime.result import GenerationResult
from runtime.separable_rows import check_separable
from runtime.serving import Serving


class Session:
    """Executes a plan.

    Opening a session places the weights and compiles; generating then takes only the time that it reports. A generation that
    fails or is interrupted leaves the session fit for the next one. A fault of a drive does not end it: what was lost is
    recomputed from the tokens and kept on what is left, and the result says what that cost.

    Args:
        plan: What to run.
        model: The model it was made for, with values.
        clock: ``wall`` lets devices and links overlap for real and holds emulated ones to their rates; ``virtual`` computes the
            same values without waiting and takes all times from the mechanism.
        progress: Told of loading (in bytes), compiling, prefill and decode: stage, done, total.
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
        check_plan(plan)
        told: Progress = progress or (lambda stage, done, total: None)
        self._bench = Workbench(plan, model, pace, told, drive_folder, command_timeout_s)
        self._plan = plan
        self._closed = False
        self._turn = 0
        self._serving: Serving | None = None
        try:
            self._installed: InstalledPlan | None = self._bench.install(plan)
        except BaseException:
            self._bench.close()
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
        self._bench.close()

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
        installed, bench = self._begin(), self._bench
        num_tokens = check_new_tokens(max_new_tokens, installed.plan.workload)
        batch = line_up(prompts, installed.plan.workload, installed.vocab_size, installed.tokenizer)
        run = FaultTolerantRun(bench, batch.prompts(), num_tokens, on_token)
        try:
            made = run.run(installed)
        finally:
            self._installed = run.left(installed)
        return GenerationResult(
            tokens=made.tokens,
            texts=None
            if installed.tokenizer is None
            else [installed.tokenizer.decode(row) for row in made.tokens],
            timeline=bench.log.take(made.origin_s),
            prefill_s=made.prefill_end_s - made.origin_s,
            decode_s=made.end_s - made.prefill_end_s,
            drive_health=bench.pool.health(),
            fidelity=bench.pace.fidelity,
            recoveries=tuple(r.since(made.origin_s) for r in made.recoveries),
        )

    def serve(self, requests: Iterable[Request], on_token: OnToken | None = None) -> Serving:
        """Serves requests that come and go, with the rows of the plan's batch as slots.

        A request takes a slot as soon as one is free, is prefilled by itself while the others keep their caches, and leaves at
        its end. What a request gets does not depend on those beside it.

        Args:
            requests: Asked for the next one whenever a slot is free; whatever it waits for, requests in slots wait for, too.
            on_token: Called with the number of a request and each new token as soon as that is known.

        Returns:
            An iterator over what comes of each, in the order in which they end; its ``totals`` say what all came to.

        Raises:
            SessionError: The session is closed, or the model keeps state that rows share.
        """
        return self._serve(requests, on_token, shared_state=False)

    def _serve(
        self,
        requests: Iterable[Request],
        on_token: OnToken | None,
        *,
        shared_state: bool,
        each_step: bool = False,
    ) -> Serving:
        """Begins to serve; with ``shared_state``, rows that begin together may share state."""
        installed = self._begin()
        if not shared_state:
            check_separable(installed.phases)
        turn = self._turn

        def check_current() -> None:
            if self._closed or self._turn != turn:
                raise SessionError(
                    "the session has been closed, or has begun something else since; serve again for what is left"
                )

        serving = Serving(self._bench, installed, requests, on_token, check_current, each_step=each_step)
        self._installed, self._serving = None, serving
        return serving

    def _begin(self) -> InstalledPlan:
        """Returns the plan to run next, with times counted anew.

        Raises:
            SessionError: The session is closed.
        """
        if self._closed:
            raise SessionError("the session is closed; open a new one")
        self._turn += 1
        if self._serving is not None:
            self._installed, self._serving = self._serving.left(), None
        installed = self._ready()
        self._bench.log.take(0.0)
        self._bench.pace.restart()
        return installed

    def _ready(self) -> InstalledPlan:
        """Returns the session's plan brought up, made again for what is left where a drive was given up meanwhile."""
        if self._installed is None:
            hw = self._bench.pool.hw
            if hw != self._plan.hw:
                self._plan = replan(self._plan, self._bench.model, hw, self._plan.workload)
            self._installed = self._bench.install(self._plan)
        return self._installed
