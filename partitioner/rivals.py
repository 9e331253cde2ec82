"""Other modes and published systems as candidates: a free choice that looks worse on the finished plan takes one of them.

The solver's account and the schedule of the steps differ: streams run ahead, and segments are launched. Where two placements
are close by the account, the schedule decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cost_models import HardwareSpec
from partitioner.errors import PlacementError
from partitioner.placement.policies import POLICIES, Policy, policy_named
from partitioner.plan.decisions import Decisions
from partitioner.plan.plan import Plan
from partitioner.plan.predicted_value import predicted_value

FARTHEST_MODE = 1.01
"""How much worse than the best plan's schedule another mode of the solver may be by the account to be tried on the schedule."""
FARTHEST = 1.05
"""Likewise a published system, which has its own account of streams and launches."""
FARTHEST_FETCHED = 2.1
"""Likewise where every attention fetches its cache: the account adds up what the schedule lets run side by side, streams and
ops, so it may be twice the schedule."""


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
    found: Sequence[Decisions],
    rivals: Sequence[Policy],
    decide: Callable[[Policy, float], Sequence[Decisions]],
    make: Callable[[Decisions], Plan],
) -> Plan:
    """Returns the plan of the best decisions, or one of others that is predicted to be better by their objective.

    Args:
        found: Decisions of the solver, the best by its account first.
        rivals: Policies whose decisions the policy of these allows.
        decide: Returns the best decisions under a policy, if any are within a limit.
        make: Turns decisions into a plan of the policy that was asked for.
    """
    best = make(found[0])
    if not rivals:
        return best
    first, least = found[0].certificate, _value(best)
    others = [(d, FARTHEST_MODE) for d in found[1:] if d.certificate.objective <= FARTHEST_MODE * least]
    for rival in rivals:
        fetches = set(rival.cache_homes).isdisjoint(rival.decode_attention) or "kv" not in rival.cache_forms
        farthest = FARTHEST_FETCHED if fetches else FARTHEST
        try:
            others += [(d, farthest) for d in decide(rival, farthest * least)[:1]]
        except PlacementError:
            continue
    for decisions, farthest in others:
        proof = decisions.certificate
        if decisions.ops == best.decisions.ops or proof.objective > farthest * least:
            continue
        objective = min(first.objective, proof.objective)
        proof = replace(proof, objective=objective, bound=min(first.bound, objective))
        plan = make(replace(decisions, certificate=proof))
        if _value(plan) < least:
            best, least = plan, _value(plan)
    return best


def _value(plan: Plan) -> float:
    value = predicted_value(plan, plan.objective.name)
    assert value is not None, "an objective was checked to have what it needs"
    return value
