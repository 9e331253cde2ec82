"""Serves requests that come and go: a fixed number of slots, each taken by one request after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from runtime.csd import DriveError
from runtime.errors import SessionError
from runtime.fault_account import FaultAccount
from runtime.generation import OnToken
from runtime.installed_plan import InstalledPlan, Workbench
from runtime.prompts import check_new_tokens, prompt_ids
from runtime.recovery import fault_of
from runtime.replan import replan
from runtime.request import Completed, Request, RequestTimings, ending_tokens, text_of
from runtime.sampling_settings import Sampling
from runtime.separable_rows import check_separable
from runtime.serving_totals import ServingTotals, Tally
from runtime.slot_runner import SlotRunner
from runtime.slots import Slot, Slots


class Serving(Iterator[Completed]):
    """Yields what comes of requests, in the order in which they end.

    A request that cannot be served raises its error in the order of ends, too; the next call goes on with the others. A fault
    of a drive ends nothing: every request in a slot begins again from its tokens.

    Args:
        bench: Brings up plans.
        installed: What to begin with; its caches are emptied first.
        requests: Asked for the next one when a slot is free.
        on_token: Called with the number of a request and each of its tokens as soon as that is known.
        check_current: Raises once the session has gone on to something else.
        each_step: Whether every call makes one token per row at most, so that listeners are not ahead of the caller.
        keep_log: Whether what devices did stays in the log for the caller, and out of the totals.
        together: Whether all requests join at once, so that rows may share state.

    Raises:
        SessionError: Requests do not join at once, and the model keeps state that rows share.
    """

    def __init__(
        self,
        bench: Workbench,
        installed: InstalledPlan,
        requests: Iterable[Request],
        on_token: OnToken | None,
        check_current: Callable[[], None],
        *,
        each_step: bool = False,
        keep_log: bool = False,
        together: bool = False,
    ) -> None:
        self._bench, self._installed, self._on_token = bench, installed, on_token
        self._check_current, self._each_step, self._keep_log = check_current, each_step, keep_log
        self._together = together
        self._first = installed.plan
        self._requests: Iterator[Any] | None = iter(requests)
        self._num_requests = 0
        self._done: deque[Completed | SessionError] = deque()
        self._account = FaultAccount(bench)
        self._slots, self._runner = self._free_slots()
        self._joining: set[int] = set()
        self._owed: dict[int, int] = {}
        self._any_token = False
        self._ended = False
        self._begin()

    def __next__(self) -> Completed:
        while not self._done:
            if not self.advance():
                raise StopIteration
        return self._next_done()

    @property
    def totals(self) -> ServingTotals:
        """Returns what all requests so far came to."""
        faults = tuple(r.since(self._origin_s) for r in self._account.recoveries)
        return self._tally.totals(self._now_s, len(self._slots), faults, self._bench)

    @property
    def origin_s(self) -> float:
        """Returns when serving began, by the session's clock."""
        return self._origin_s

    @property
    def tokenizer(self) -> Any:
        """Returns the model's tokenizer, or None."""
        return self._installed.tokenizer

    def take_done(self) -> list[Completed]:
        """Returns the requests that have ended since the last call.

        Raises:
            SessionError: The first of them that could not be served.
        """
        return [self._next_done() for _ in range(len(self._done))]

    def _next_done(self) -> Completed:
        found = self._done.popleft()
        if isinstance(found, SessionError):
            raise found
        return found

    def left(self) -> InstalledPlan | None:
        """Returns what is brought up of what it began with: nothing once there was a fault."""
        return self._installed if self._account.is_clean else None

    def advance(self) -> bool:
        """Lets requests join, or runs decode steps until one ends; tells whether there is anything left to do.

        Raises:
            SessionError: A step failed for another reason than a drive, or nothing fits on what is left.
        """
        self._check_current()
        if self._ended:
            return False
        try:
            self._admit()
            if not self._slots.taken():
                self._ended = not self._done
                return not self._ended
            self._now_s = max(self._now_s, self._bench.pace.clock.now_s())
            if self._joining:
                rows, self._joining = sorted(self._joining), set()
                self._now_s = self._runner.join(rows, self._now_s)
            else:
                watched = self._on_token is not None or any(s.endings for _, s in self._slots.taken())
                most = 1 if self._each_step else None
                self._now_s = self._runner.decode(self._now_s, watched=watched, most=most)
            self._sweep()
        except (SessionError, DriveError) as error:
            fault = fault_of(error)
            if fault is None:
                self._ended = True
                raise
            at_s = getattr(error, "at_s", None)
            self._recover(fault, self._bench.pace.clock.now_s() if at_s is None else at_s)
        except BaseException:
            self._ended = True
            raise
        if not self._keep_log:
            self._tally.add_busy(self._bench.log.take(self._origin_s))
        return True

    def _free_slots(self) -> tuple[Slots, SlotRunner]:
        """Returns slots for the plan that is installed, and what runs its phases for them.

        Raises:
            SessionError: The model keeps state that rows share, and may not.
        """
        phases = self._installed.phases
        if not self._together:
            check_separable(phases)
        slots = Slots(phases.micro_batches)
        return slots, SlotRunner(phases, slots, self._take)

    def _begin(self) -> None:
        clock = self._bench.pace.clock
        self._now_s = clock.now_s()
        try:
            self._installed.system.clear()
        except DriveError as error:
            fault = fault_of(error)
            if fault is None:
                raise
            self._recover(fault, self._now_s)
        self._now_s = self._origin_s = clock.now_s()
        self._bench.log.take(0.0)
        self._tally = Tally(self._origin_s)

    def _admit(self) -> None:
        """Gives free slots to the next requests."""
        while self._requests is not None and (row := self._slots.free_row()) is not None:
            try:
                request = next(self._requests)
            except StopIteration:
                self._requests = None
                return
            number, self._num_requests = self._num_requests, self._num_requests + 1
            try:
                slot = self._slot(number, request)
            except SessionError as error:
                self._done.append(error)
                return
            self._slots.put(row, slot)
            self._joining.add(row)

    def _slot(self, number: int, request: Any) -> Slot:
        """Returns a request in its beginning.

        Raises:
            SessionError: It asks for something that there is no room for, or that makes no sense.
        """
        if not isinstance(request, Request):
            raise SessionError(
                f"request {number} is a {type(request).__name__}; give runtime.Request(prompt, max_new_tokens, sampling, eos)"
            )
        if not isinstance(request.sampling, Sampling):
            raise SessionError(f"sampling of request {number} is {request.sampling!r}; give runtime.Sampling")
        installed = self._installed
        workload, vocab_size, tokenizer = installed.plan.workload, installed.vocab_size, installed.tokenizer
        check_new_tokens(request.max_new_tokens, workload)
        prompt = prompt_ids(number, request.prompt, workload, vocab_size, tokenizer)
        endings = ending_tokens(request.eos, tokenizer, vocab_size)
        return Slot(number, request, prompt, endings, max(self._now_s, self._bench.pace.clock.now_s()))

    def _take(self, slot: Slot, num_cached: int, token: int, at_s: float) -> bool:
        """Takes a token; tells whether steps are to end so that somebody can go on."""
        if slot.take(num_cached, token, at_s):
            self._any_token = True
            if slot.error is None and self._on_token is not None:
                self._on_token(slot.number, token)
        if self._owed.get(slot.number, num_cached + 1) <= num_cached + 1:
            self._owed.pop(slot.number, None)
            if not self._owed:
                self._account.close(at_s)
        return slot.reason is not None

    def _sweep(self) -> None:
        """Frees the slots of requests that have ended."""
        ended = [(row, slot) for row, slot in self._slots.taken() if slot.reason is not None]
        for row, slot in sorted(ended, key=lambda e: (e[1].end_s, e[1].number)):
            self._slots.free(row)
            self._done.append(self._completed(slot))
        for number, rows in self._slots.micro_batches.split([row for row, _ in ended]):
            if rows:
                self._installed.system.reclaim(number, np.array(rows))

    def _completed(self, slot: Slot) -> Completed | SessionError:
        if slot.error is not None:
            return slot.error
        assert slot.first_token_s is not None
        assert slot.reason is not None
        begin_s, first_s, end_s = (t - self._origin_s for t in (slot.begin_s, slot.first_token_s, slot.end_s))
        timings = RequestTimings(begin_s, first_s, end_s, len(slot.made))
        self._tally.add(timings)
        text = text_of(slot.made, slot.reason, self._installed.tokenizer)
        return Completed(slot.request, slot.number, slot.made, text, slot.reason, timings)

    def _recover(self, fault: DriveError, at_s: float) -> None:
        """Goes on after a fault, with what is left: requests in slots begin again from their tokens.

        Raises:
            SessionError: Nothing fits on what is left.
        """
        bench = self._bench
        self._account.note_progress(any_token=self._any_token)
        self._any_token = False
        while True:
            self._account.open(fault, at_s, sum(slot.num_known for _, slot in self._slots.taken()))
            bench.progress("recovering", 0, 1)
            try:
                if bench.pool.hw != self._installed.plan.hw:
                    plan = replan(self._first, bench.model, bench.pool.hw, self._first.workload)
                    self._installed = bench.install(plan)
                self._installed.system.clear()
                break
            except (SessionError, DriveError) as error:
                another = fault_of(error)
                if another is None:
                    raise
                fault, at_s = another, bench.pace.clock.now_s()
        bench.progress("recovering", 1, 1)
        self._begin_again()

    def _begin_again(self) -> None:
        """Puts the requests that go on into the slots of the plan that is installed now."""
        held = [slot for _, slot in self._slots.taken() if slot.reason is None]
        ended = [slot for _, slot in self._slots.taken() if slot.reason is not None]
        self._done.extend(map(self._completed, sorted(ended, key=lambda s: (s.end_s, s.number))))
        self._slots, self._runner = self._free_slots()
        self._owed = {slot.number: slot.num_known for slot in held}
        self._joining = set()
        for slot in held:
            row = self._slots.free_row()
            assert row is not None
            slot.num_cached = 0
            self._slots.put(row, slot)
            self._joining.add(row)
        if not held:
            self._account.close(self._bench.pace.clock.now_s())
