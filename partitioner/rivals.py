"""Published systems as candidates: a free choice that looks worse than one of them on the finished plan takes that one.

The solver's account and the schedule of the steps differ: streams run ahead, and segments are launched. Where two placements
are close by the account, the schedule decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from cost_models import HardwareSpec
from partitioner.errors import PlacementError
from partitioner.placement.policies import POLICIES, Policy, policy_named
from partitioner.plan.decisions import Decisions
from partitioner.plan.plan import Plan
from partitioner.plan.predicted_value import predicted_value

FARTHEST = 3.0
"""A placement that is so many times worse by the account is not tried on the schedule. Streams alone run ahead there, so it
takes as long as the ops or as the streams, at least half of the account; the rest is margin."""


def rivals_of(policy: Policy, hw: HardwareSpec) -> tuple[Policy, ...]:
    """Returns the policies on some hardware that allow nothing which a policy forbids; those of the same form are left out."""
    found: list[Policy] = []
    for name, rival in POLICIES.items():
        if name == policy.name or not _within(rival, policy):
            continue
        try:
            found.append(policy_named(name, hw))
        except PlacementError:
            continue
    return tuple(found)


def _within(rival: Policy, policy: Policy) -> bool:
    pairs = (
        (rival.compute, policy.compute),
        (rival.prefill_attention, policy.prefill_attention),
        (rival.decode_attention, policy.decode_attention),
        (rival.cache_homes, policy.cache_homes),
        (rival.weight_homes, policy.weight_homes),
        (rival.cache_forms, policy.cache_forms),
    )
    return policy.split and not policy.via_host and all(set(own) <= set(other) for own, other in pairs)


def best_on_schedule(
    first: Plan,
    rivals: Iterable[Policy],
    decide: Callable[[Policy], Decisions],
    make: Callable[[Decisions], Plan],
) -> Plan:
    """Returns the first plan, or one of a rival's decisions that is predicted to be better by the first's objective.

    Args:
        first: The plan of the solver's best placement.
        rivals: Policies whose decisions the first plan's policy allows.
        decide: Returns the best decisions under a policy.
        make: Turns decisions into a plan of the first plan's policy.
    """
    best, least = first, _value(first)
    bound = first.decisions.certificate.bound
    for rival in rivals:
        try:
            decisions = decide(rival)
        except PlacementError:
            continue
        proof = decisions.certificate
        if decisions.ops == best.decisions.ops or proof.objective > FARTHEST * least:
            continue
        plan = make(replace(decisions, certificate=replace(proof, bound=min(bound, proof.objective))))
        if _value(plan) < least:
            best, least = plan, _value(plan)
    return best


def _value(plan: Plan) -> float:
    value = predicted_value(plan, plan.objective.name)
    assert value is not None, "an objective was checked to have what it needs"
    return value
