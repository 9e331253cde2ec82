"""Whether the rows of a model can begin and end by themselves."""

from __future__ import annotations

from runtime.errors import SessionError
from runtime.phases import Phases
from runtime.slot_runner import has_rows


def check_separable(phases: Phases) -> None:
    """Requires that a row can begin anew while the others go on.

    Raises:
        SessionError: A counter or another state of the model is shared by all rows.
    """
    shared = [name for name, counter in phases.first_counters.items() if not has_rows(counter)]
    if shared:
        raise SessionError(
            f"requests cannot come and go: the model counts tokens in {shared[0]!r}, one number for all rows, as "
            "nnx.MultiHeadAttention(decode=True) does; give it positions per row, or generate batch by batch"
        )
    prefill = phases.plan.prefill
    made = None if prefill is None else {o.name: v for v, o in prefill.graph.output_of.items()}
    phases.system.states.split_rows(made)
