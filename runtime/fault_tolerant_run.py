"""One generation that goes on after faults of drives.

What a drive lost is made again from the tokens that are known by then: prompts, and new tokens. Where attention is exact,
both are a longer prompt for a plan of what is left. Where drives attend sparsely, hidden states depend on how a token was
computed: known tokens are fed through decode steps again, so that the same tokens follow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from partitioner.plan.plan import Plan
from runtime.csd import DriveError
from runtime.errors import SessionError
from runtime.fault_account import FaultAccount
from runtime.generation import Generated, OnToken, rows_of
from runtime.installed_plan import InstalledPlan, Workbench
from runtime.micro_batches import MicroBatches
from runtime.prompts import PromptBatch, line_up
from runtime.recovery import Recovery, fault_of
from runtime.replan import replan


@dataclass(frozen=True)
class Outcome:
    """What came of a generation.

    Attributes:
        tokens: New tokens of each prompt.
        origin_s: When it began, by the session's clock.
        prefill_end_s: When every row had its first new token, by the session's clock.
        end_s: When everything was done.
        recoveries: Faults on the way, times in seconds of the session's clock.
    """

    tokens: list[list[int]]
    origin_s: float
    prefill_end_s: float
    end_s: float
    recoveries: tuple[Recovery, ...]


class FaultTolerantRun:
    """Generates from prompts under a plan, and under others once drives have failed.

    Args:
        bench: Brings up plans.
        prompts: Token ids.
        num_tokens: New tokens for each.
        on_token: Called with row and token as soon as a token is known, once for each.
    """

    def __init__(
        self, bench: Workbench, prompts: Sequence[Sequence[int]], num_tokens: int, on_token: OnToken | None
    ) -> None:
        self._bench = bench
        self._prompts = [list(prompt) for prompt in prompts]
        self._num_tokens, self._on_token = num_tokens, on_token
        self._known: list[list[int]] = [[] for _ in prompts]
        self._told = [0] * len(prompts)
        self._account = FaultAccount(bench)

    def run(self, installed: InstalledPlan) -> Outcome:
        """Generates.

        Args:
            installed: What to begin with; its caches are emptied first.

        Raises:
            SessionError: A step failed for another reason than a drive, or nothing fits on what is left.
        """
        first, prefill_end_s, replayed = installed.plan, None, False
        installed, origin_s = self._emptied(installed)
        begin_s = self._bench.pace.clock.now_s()
        while True:
            batch = self._batch(installed, replayed=replayed)
            made = installed.generator.begin(begin_s)
            fault, at_s = self._attempt(installed, batch, made, replayed=replayed)
            prefill_end_s = made.prefill_end_s if prefill_end_s is None else prefill_end_s
            self._keep(installed, batch, made, replayed=replayed)
            if fault is None:
                assert prefill_end_s is not None
                recoveries = tuple(self._account.recoveries)
                return Outcome(self._known, origin_s, prefill_end_s, made.end_s, recoveries)
            installed, replayed = self._recover(first, fault, at_s)
            begin_s = max(self._bench.pace.clock.now_s(), at_s)

    def left(self, installed: InstalledPlan) -> InstalledPlan | None:
        """Returns what a generation leaves brought up of what it began with: nothing once there was a fault."""
        return installed if self._account.is_clean else None

    def _emptied(self, installed: InstalledPlan) -> tuple[InstalledPlan, float]:
        """Empties the caches; returns what to begin with, and when a generation that has no faults begins."""
        clock = self._bench.pace.clock
        asked_s = clock.now_s()
        try:
            installed.system.clear()
        except DriveError as error:
            fault = fault_of(error)
            if fault is None:
                raise
            return self._recover(installed.plan, fault, asked_s)[0], asked_s
        return installed, clock.now_s()

    def _batch(self, installed: InstalledPlan, *, replayed: bool) -> PromptBatch:
        """Returns what a plan begins with: prompts with known tokens behind them, or beside them to be fed step by step."""
        prompts, known = (self._prompts, self._known) if replayed else (self._longer_prompts(), [])
        return line_up(prompts, installed.plan.workload, installed.vocab_size, None, known)

    def _attempt(
        self, installed: InstalledPlan, batch: PromptBatch, made: Generated, *, replayed: bool
    ) -> tuple[DriveError | None, float]:
        """Generates what is missing under one plan; returns the fault that stopped it, and when what failed could begin.

        Raises:
            SessionError: Something else stopped it.
        """
        most = self._num_tokens if replayed else self._num_missing
        counts = [0 if replayed else len(row) for row in self._known]
        listen = self._on_token and self._listener(self._on_token, counts)
        try:
            installed.generator.generate(batch, most, made, listen)
        except SessionError as error:
            fault = fault_of(error)
            if fault is None:
                raise
            return fault, self._bench.pace.clock.now_s() if error.at_s is None else error.at_s
        return None, made.end_s

    def _listener(self, on_token: OnToken, counts: list[int]) -> OnToken:
        """Returns what hands on each token once: rows begin with their token of number ``counts``."""

        def listen(row: int, token: int) -> None:
            number, counts[row] = counts[row], counts[row] + 1
            if self._told[row] <= number < self._num_tokens:
                self._told[row] = number + 1
                on_token(row, token)

        return listen

    def _keep(self, installed: InstalledPlan, batch: PromptBatch, made: Generated, *, replayed: bool) -> None:
        """Takes over the tokens that were made, and closes the account of the last fault."""
        found = rows_of(made, batch, self._num_tokens, MicroBatches.of(installed.plan), fed=installed.is_fed)
        if self._account.is_open:
            self._account.close(self._resumed_s(made, replayed=replayed))
        before = sum(map(len, self._known))
        for row, new in enumerate(found):
            extra = new[len(self._known[row]) :] if replayed else new
            self._known[row] = (self._known[row] + extra)[: self._num_tokens]
        self._account.note_progress(any_token=sum(map(len, self._known)) > before)

    def _longer_prompts(self) -> list[list[int]]:
        """Returns the prompts with the tokens that are known behind them."""
        return [prompt + known for prompt, known in zip(self._prompts, self._known, strict=True)]

    @property
    def _num_missing(self) -> int:
        """Returns the tokens that the row with the fewest lacks."""
        return self._num_tokens - min(map(len, self._known))

    def _resumed_s(self, made: Generated, *, replayed: bool) -> float:
        """Returns when everything that was known had its K and V again; the end so far if that was not reached."""
        if made.prefill_end_s is None:
            return made.end_s
        number = max(map(len, self._known)) - 1 if replayed else 0
        ends = [(made.prefill_end_s, *times)[min(number, len(times))] for times in made.ends]
        return max(ends)

    def _recover(self, first: Plan, fault: DriveError, at_s: float) -> tuple[InstalledPlan, bool]:
        """Gives up what does not work any more, and brings up a plan for the rest.

        Returns:
            The plan, and whether known tokens are to be fed through decode steps again.

        Raises:
            SessionError: Nothing fits on what is left.
        """
        bench = self._bench
        while True:
            self._account.open(fault, at_s, sum(map(len, self._longer_prompts())))
            bench.progress("recovering", 0, 1)
            replayed = first.workload.sparsity is not None and first.prefill is not None
            workload = first.workload
            if not replayed:
                longest = max(map(len, self._longer_prompts()))
                workload = dataclasses.replace(workload, prompt_len=longest, decode_len=self._num_missing)
            same = workload == first.workload and bench.pool.hw == first.hw
            plan = first if same else replan(first, bench.model, bench.pool.hw, workload)
            try:
                installed = bench.install(plan)
                installed.system.clear()
            except (SessionError, DriveError) as error:
                another = fault_of(error)
                if another is None:
                    raise
                fault, at_s = another, bench.pace.clock.now_s()
                continue
            bench.progress("recovering", 1, 1)
            return installed, replayed
