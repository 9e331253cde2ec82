"""The session: a plan, a model's weights, and the devices they run on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from partitioner.plan.plan import Plan
from runtime.csd.queue import IO_TIMEOUT_S
from runtime.errors import SessionError
from runtime.fault_tolerant_run import FaultTolerantRun
from runtime.generation import OnToken
from runtime.installed_plan import InstalledPlan, Workbench, check_plan
from runtime.open_generation import in_order, requests_of, stream_pieces
from runtime.pace import make_pace
from runtime.phases import Progress
from runtime.prompts import Prompt, check_new_tokens, line_up
from runtime.replan import replan
from runtime.request import Eos, Request, ending_tokens
from runtime.result import GenerationResult
from runtime.sampling_settings import GREEDY, Sampling
from runtime.serving import Serving
from runtime.text_pieces import Piece


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
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int = 64,
        on_token: OnToken | None = None,
        *,
        sampling: Sampling | Sequence[Sampling] = GREEDY,
        eos: Eos = None,
    ) -> GenerationResult:
        """Generates from every prompt; by default a fixed number of tokens, always the likeliest.

        Args:
            prompts: Texts, or sequences of token ids; lengths may differ. Up to the plan's batch size.
            max_new_tokens: New tokens for each, at most.
            on_token: Called with row and token as soon as a token is known; makes the host wait for every step.
            sampling: How tokens are drawn: for all prompts, or one for each.
            eos: Tokens that end a row: one, several, ``"model"`` for the one that the model's tokenizer knows, or None.
                Makes the host wait for every step; the generation ends once all rows have ended.

        Raises:
            SessionError: Prompts or length are not what the plan has room for, the session is closed, a step failed, or
                logits were not finite.
        """
        installed, bench = self._begin(), self._bench
        num_tokens = check_new_tokens(max_new_tokens, installed.plan.workload)
        batch = line_up(prompts, installed.plan.workload, installed.vocab_size, installed.tokenizer)
        if sampling != GREEDY or ending_tokens(eos, installed.tokenizer, installed.vocab_size):
            requests = requests_of(batch, num_tokens, sampling, eos)
            return self._generate_open(installed, requests, on_token)
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
            reasons=("length",) * len(made.tokens),
        )

    def _generate_open(
        self, installed: InstalledPlan, requests: Sequence[Request], on_token: OnToken | None
    ) -> GenerationResult:
        """Generates where rows draw tokens, or end by themselves."""
        serving = self._serve(installed, requests, on_token, keep_log=True, together=True)
        rows = in_order(serving)
        totals = serving.totals
        prefill_s = max(row.timings.first_token_s for row in rows)
        return GenerationResult(
            tokens=[row.tokens for row in rows],
            texts=None if installed.tokenizer is None else [row.text or "" for row in rows],
            timeline=self._bench.log.take(serving.origin_s),
            prefill_s=prefill_s,
            decode_s=totals.total_s - prefill_s,
            drive_health=totals.drive_health,
            fidelity=totals.fidelity,
            recoveries=totals.recoveries,
            reasons=tuple(row.reason for row in rows),
        )

    def stream(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int = 64,
        *,
        sampling: Sampling | Sequence[Sampling] = GREEDY,
        eos: Eos = "model",
    ) -> Iterator[Piece]:
        """Returns an iterator over new tokens and their text, each as soon as it is known; rows of a step in their order.

        What the texts of a row add up to is its whole text: no character is broken, and a token that ends a row has none.

        Args:
            prompts: As of :meth:`generate`.
            max_new_tokens: Likewise.
            sampling: Likewise.
            eos: Likewise; by default the model's own.

        Raises:
            SessionError: As of :meth:`generate`.
        """
        installed = self._begin()
        num_tokens = check_new_tokens(max_new_tokens, installed.plan.workload)
        batch = line_up(prompts, installed.plan.workload, installed.vocab_size, installed.tokenizer)
        requests = requests_of(batch, num_tokens, sampling, eos)
        heard: deque[tuple[int, int]] = deque()
        serving = self._serve(
            installed, requests, lambda row, token: heard.append((row, token)), each_step=True, together=True
        )
        return stream_pieces(serving, heard, len(requests))

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
        installed = self._begin()
        return self._serve(installed, requests, on_token)

    def _serve(
        self,
        installed: InstalledPlan,
        requests: Iterable[Request],
        on_token: OnToken | None,
        *,
        each_step: bool = False,
        keep_log: bool = False,
        together: bool = False,
    ) -> Serving:
        """Begins to serve."""
        turn = self._turn

        def check_current() -> None:
            if self._closed or self._turn != turn:
                raise SessionError(
                    "the session has been closed, or has begun something else since; serve again for what is left"
                )

        serving = Serving(
            self._bench, installed, requests, on_token, check_current,
            each_step=each_step, keep_log=keep_log, together=together,
        )  # fmt: skip
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
