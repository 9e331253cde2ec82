"""Other modes and published systems as candidates: a free choice that looks worse on the finished plan takes one of them.

The solver's account and the schedule of the steps differ: streams run ahead, and segments are launched. Where two placements
are close by the account, the schedule decides; where the schedule of one is far above its account, its layers are tried in
another order and more alike, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from cost_models import HardwareSpec
from partitioner.errors import PlacementError
from partitioner.placement.candidates import Candidate
from partitioner.placement.mode_costs import STREAMS_SHARE
from partitioner.placement.policies import POLICIES, Policy, policy_named
from partitioner.plan.decisions import Certificate, Decision, Decisions
from partitioner.plan.plan import Plan
from partitioner.plan.predicted_value import predicted_value

FARTHEST_MODE = 1.01
"""How much worse than the best plan's schedule another mode of the solver may be by the account to be tried on the schedule."""
FARTHEST = 1.05 / STREAMS_SHARE
"""Likewise a published system, which has its own account of launches, and of whose schedule streams may fill a link."""
FARTHEST_FETCHED = 2.1
"""Likewise where caches are fetched: the account adds up what the schedule lets run side by side, streams and ops, so it may be
twice the schedule."""
FAR = 1.01
"""How much more than the account a schedule may take before others of that account are tried: a plan costs some of a search."""


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
    found: Sequence[Candidate],
    rivals: Sequence[Policy],
    decide: Callable[[Policy, float], Sequence[Candidate]],
    make: Callable[[Decisions], Plan],
    plainly: Callable[[float, bool], Sequence[Candidate]] = lambda limit, briefly: (),
) -> Plan:
    """Returns the plan of the best decisions, or one of others that is predicted to be better by their objective.

    Args:
        found: Candidates of the solver, the best by its account first.
        rivals: Policies whose decisions the policy of these allows.
        decide: Returns the best candidates under a policy, unless bounds show that none are within a limit. They are those that
            the policy is planned with by itself: a search below a limit might end with another placement, as good by the
            account and worse on the schedule.
        make: Turns decisions into a plan of the policy that was asked for.
        plainly: Returns candidates of fewer tiers within a limit, after a brief search if that is said. They are tried where
            the schedule of the best is far above its account: what runs on the host in a prefill lets no stream get ahead.
    """
    best = _best_of(found[0], make)
    if not rivals:
        return best
    first, least = found[0].decisions.certificate, _value(best)
    others = [
        (other, FARTHEST_MODE)
        for other in found[1:]
        if other.decisions.certificate.objective <= FARTHEST_MODE * least
    ]
    for rival in rivals:
        fetches = set(rival.cache_homes).isdisjoint(rival.decode_attention) or "input" in rival.cache_forms
        farthest = FARTHEST_FETCHED if fetches else FARTHEST
        try:
            others += [(other, farthest) for other in decide(rival, farthest * least)[:1]]
        except PlacementError:
            continue
    if _is_far(best):
        others += [(other, FARTHEST_MODE) for other in _plainer(first, FARTHEST_MODE * least, plainly)]
    planned = [_placement(found[0])]
    for other, farthest in others:
        proof = other.decisions.certificate
        same = other.decisions.ops == best.decisions.ops or _placement(other) in planned
        if same or proof.objective > farthest * least:
            continue
        planned.append(_placement(other))
        plan = _best_of(other, make)
        if _value(plan) < least:
            best, least = plan, _value(plan)
    return _with_proof(best, first, [other.decisions.certificate for other, _ in others])


def _plainer(
    first: Certificate, limit: float, plainly: Callable[[float, bool], Sequence[Candidate]]
) -> Sequence[Candidate]:
    """Returns the best candidate of fewer tiers; one that is better by the account is to be proven as well as the first."""
    try:
        found = plainly(limit, True)[:1]
        better = any(other.decisions.certificate.objective < first.objective for other in found)
        return plainly(limit, False)[:1] if better else found
    except PlacementError:
        return ()


def _is_far(plan: Plan) -> bool:
    """Tells whether a plan's schedule is far above the account of its placement."""
    return _value(plan) > FAR * plan.decisions.certificate.account


def _placement(candidate: Candidate) -> tuple[Mapping[str, Decision], int]:
    """Returns what two candidates share if they lead to the same plan, whichever order was the better one."""
    return candidate.decisions.ops, candidate.decisions.micro_batches


def _best_of(candidate: Candidate, make: Callable[[Decisions], Plan]) -> Plan:
    """Returns the plan of a candidate, with its layers in another order or evened out where its schedule is far off."""
    plan = make(candidate.decisions)
    return min([plan, *map(make, candidate.others())], key=_value) if _is_far(plan) else plan


def _with_proof(plan: Plan, first: Certificate, others: Sequence[Certificate]) -> Plan:
    """Returns a plan with the proof of all that was looked at.

    A published system reserves less where its rule leaves less to choose, so its placement may be better by the account than
    all that the solver's choices have.
    """
    better = [proof for proof in others if proof.objective < first.objective]
    objective = min(proof.objective for proof in [first, *better])
    bound = min(objective, *(proof.bound for proof in [first, *better]))
    own = plan.decisions.certificate
    proof = replace(own, objective=objective, bound=bound)
    return plan if proof == own else replace(plan, decisions=replace(plan.decisions, certificate=proof))


def _value(plan: Plan) -> float:
    value = predicted_value(plan, plan.objective.name)
    assert value is not None, "an objective was checked to have what it needs"
    return value
