"""How a plan cuts its batch into micro-batches, which decode side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partitioner.plan.plan import Plan
from runtime.errors import SessionError


@dataclass(frozen=True)
class MicroBatches:
    """Says which rows of the batch are in which micro-batch: row ``r`` is in number ``r // num_rows``.

    Attributes:
        count: Micro-batches.
        num_rows: Rows of each.
    """

    count: int
    num_rows: int

    @staticmethod
    def of(plan: Plan) -> MicroBatches:
        """Returns those of a plan.

        Raises:
            SessionError: The decode's rows and the micro-batches do not make up the batch.
        """
        count: int = getattr(plan, "micro_batches", 1)
        if count * plan.decode.rows != plan.workload.batch_size:
            raise SessionError(
                f"{count} micro-batches of {plan.decode.rows} rows do not make up the batch of {plan.workload.batch_size}; "
                "partition again"
            )
        return MicroBatches(count, plan.decode.rows)

    def rows(self, number: int) -> slice:
        """Returns the rows of a micro-batch in the batch."""
        return slice(number * self.num_rows, (number + 1) * self.num_rows)

    def split(self, rows: Sequence[int]) -> list[tuple[int, list[int]]]:
        """Returns each micro-batch and those of some rows of the batch that are in it, counted within it."""
        size = self.num_rows
        return [(number, [r % size for r in rows if r // size == number]) for number in range(self.count)]
