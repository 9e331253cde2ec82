"""Which prefills are one executable, and that they leave the caches that single steps leave."""

import pytest

from partitioner.plan.plan import Plan
from runtime import Session
from runtime.fused_prefill import FusedPrefill
from runtime.prefill import SteppedPrefill
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, plain_tokens, plan_for, transformer


def prefill_of(plan: Plan) -> tuple[type, list[list[int]]]:
    """Returns how a plan's prefill runs, and the tokens that follow it."""
    model = transformer()
    with Session(plan, model, clock="virtual") as session:
        return type(session._ready().phases.prefill), session.generate(PROMPTS, 6).tokens


@pytest.mark.parametrize(
    ("policy", "kind"),
    [("gpu-only", FusedPrefill), ("deepspeed-host", SteppedPrefill), ("instinfer", SteppedPrefill)],
)
def test_a_prefill_is_one_executable_where_its_processor_keeps_all_caches(policy: str, kind: type) -> None:
    found, tokens = prefill_of(plan_for(transformer(), policy))
    assert found is kind
    assert tokens == plain_tokens(transformer(), PROMPTS, 6, WORKLOAD.max_len)
