"""The slots of a session that serves: which request is in which row, and how far it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from runtime.decode import OpenRows
from runtime.errors import SessionError
from runtime.micro_batches import MicroBatches
from runtime.request import Reason, Request
from runtime.sampling import check_chosen
from runtime.sampling_settings import GREEDY, RowSettings
from runtime.share_rows import NO_SLOT


@dataclass(eq=False)
class Slot:
    """A request that has a row.

    What is in the row's caches is always a beginning of ``prompt + made``. A step takes in the token behind it; what it makes
    is new only if it is the token behind all that are known. So prompts that go in token by token, and requests that begin
    again after a fault, need nothing else.

    Attributes:
        number: Of the request.
        request: The request.
        prompt: Token ids.
        endings: Tokens that end it.
        begin_s: When it took the row.
        made: New tokens.
        num_cached: Tokens of ``prompt + made`` in the row's caches.
        first_token_s: When its first new token was there.
        end_s: When it ended.
        reason: Why it ended; None while it goes on.
        error: What ended it before its time, if anything did.
    """

    number: int
    request: Request
    prompt: list[int]
    endings: frozenset[int]
    begin_s: float
    made: list[int] = field(default_factory=list)
    num_cached: int = 0
    first_token_s: float | None = None
    end_s: float = 0.0
    reason: Reason | None = None
    error: SessionError | None = None

    @property
    def text(self) -> list[int]:
        """Returns all tokens that are known."""
        return self.prompt + self.made

    @property
    def num_known(self) -> int:
        """Returns how many tokens are known."""
        return len(self.prompt) + len(self.made)

    @property
    def steps_left(self) -> int:
        """Returns the decode steps after which it ends at the latest."""
        return len(self.prompt) + self.request.max_new_tokens - 1 - self.num_cached

    def take(self, num_cached: int, token: int, at_s: float) -> bool:
        """Takes what a run made after which ``num_cached`` tokens are in the caches; tells whether the token is new."""
        self.num_cached = num_cached
        if self.reason is not None or num_cached < self.num_known:
            return False
        try:
            check_chosen(np.array([token]), self.number, len(self.made))
        except SessionError as error:
            self.error, self.reason, self.end_s = error, "length", at_s
            return True
        self.made.append(token)
        if self.first_token_s is None:
            self.first_token_s = at_s
        if token in self.endings:
            self.reason = "eos"
        elif len(self.made) == self.request.max_new_tokens:
            self.reason = "length"
        self.end_s = at_s
        return True


class Slots:
    """The rows of a plan's batch, each free or with a request.

    Args:
        micro_batches: How the batch is cut.
    """

    def __init__(self, micro_batches: MicroBatches) -> None:
        self.micro_batches = micro_batches
        self._rows: list[Slot | None] = [None] * (micro_batches.count * micro_batches.num_rows)

    def __len__(self) -> int:
        return len(self._rows)

    def free_row(self) -> int | None:
        """Returns the first free row of the micro-batch that has most of them; None where all are taken."""
        counts = [
            sum(slot is None for slot in self._rows[self.micro_batches.rows(number)])
            for number in range(self.micro_batches.count)
        ]
        rows = self.micro_batches.rows(int(np.argmax(counts)))
        return next((row for row in range(rows.start, rows.stop) if self._rows[row] is None), None)

    def put(self, row: int, slot: Slot) -> None:
        """Gives a row to a request."""
        self._rows[row] = slot

    def free(self, row: int) -> None:
        """Takes a row from its request."""
        self._rows[row] = None

    def taken(self) -> list[tuple[int, Slot]]:
        """Returns rows and their requests."""
        return [(row, slot) for row, slot in enumerate(self._rows) if slot is not None]

    def of(self, number: int) -> Iterator[tuple[int, Slot]]:
        """Yields rows, counted within a micro-batch, and their requests."""
        for row, slot in enumerate(self._rows[self.micro_batches.rows(number)]):
            if slot is not None:
                yield row, slot

    def open_rows(self, number: int) -> OpenRows:
        """Returns what a run of a micro-batch has to know of its rows."""
        rows = self._rows[self.micro_batches.rows(number)]
        slots = [NO_SLOT if slot is None else row for row, slot in enumerate(rows)]
        return OpenRows(np.array(slots, np.int32), settings_of(rows))


def settings_of(slots: list[Slot | None]) -> RowSettings:
    """Returns how tokens of requests are drawn; None stands for a row without one."""
    return RowSettings.of(
        [GREEDY if slot is None else slot.request.sampling for slot in slots],
        [0 if slot is None else len(slot.prompt) for slot in slots],
    )
