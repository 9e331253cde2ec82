"""The certificate tells apart the gap of the search, what a better schedule gave up, and how far it is from the account."""

from dataclasses import replace

import pytest

from partitioner import Plan
from partitioner.placement.candidates import Candidate
from partitioner.placement.policies import policy_named
from partitioner.plan.decisions import Certificate, Decisions
from partitioner.plan.report import SECTIONS
from partitioner.plan.report.figures import Figures
from partitioner.rivals import best_on_schedule, rivals_of
from tests.partitioner.plan.plans import wide_plan


def certified(plan: Plan, objective: float, bound: float, account: float) -> Plan:
    """Returns a plan with another certificate."""
    proof = replace(plan.decisions.certificate, objective=objective, bound=bound, account=account)
    return replace(plan, decisions=replace(plan.decisions, certificate=proof))


def row(plan: Plan, label: str) -> str:
    """Returns the text of one row of the report's certificate, empty where there is none."""
    lines = SECTIONS["certificate"](Figures(plan))
    return next((line.strip() for line in lines if line.strip().startswith(label)), "")


def test_the_three_numbers_are_told_apart() -> None:
    plan = wide_plan("instinfer")
    seconds = plan.total_seconds
    plan = certified(plan, 0.5 * seconds, 0.49 * seconds, 0.8 * seconds)
    assert plan.gap == pytest.approx(0.02)
    assert plan.account_excess == pytest.approx(0.6)
    assert plan.schedule_excess == pytest.approx(0.25)
    assert "60 % above the objective" in row(plan, "this plan")
    assert row(plan, "predicted").endswith("25 % more than the account")
    predicted = plan.to_dict()["predicted"]
    names = ("gap", "account_excess", "schedule_excess")
    assert [predicted[n] for n in names] == [plan.gap, plan.account_excess, plan.schedule_excess]


def test_a_plan_of_the_best_placement_gave_nothing_up() -> None:
    plan = wide_plan("instinfer")
    assert plan.account_excess == 0.0
    assert row(plan, "this plan") == ""
    twice = certified(plan, 2 * plan.total_seconds, plan.bound, 2 * plan.total_seconds)
    assert row(twice, "predicted").endswith("50 % less than the account")


def test_a_plan_without_work_has_no_gap() -> None:
    plan = certified(wide_plan("instinfer"), 0.0, 0.0, 0.0)
    assert (plan.gap, plan.account_excess, plan.schedule_excess) == (0.0, 0.0, None)


def test_a_placement_with_a_better_schedule_keeps_the_proof_of_the_best() -> None:
    """The proof stays that of the solver's best placement, and the account tells what the schedule's choice gave up."""
    slow, fast = sorted((wide_plan("flexgen-ssd"), wide_plan("instinfer")), key=lambda p: -p.total_seconds)
    assert fast.total_seconds < slow.total_seconds, "two plans that differ"
    fastest = 0.99 * fast.total_seconds
    first = replace(slow.decisions, certificate=Certificate(fastest, 0.98 * fastest, fastest, "made up"))
    account = 1.005 * fastest
    other = replace(fast.decisions, certificate=Certificate(account, account, account, "made up"))
    plans = {id(first.ops): slow, id(other.ops): fast}
    taken = best_on_schedule(
        [Candidate(first), Candidate(other)],
        rivals_of(policy_named("auto", fast.hw), fast.hw),
        lambda policy, limit: [],
        lambda decisions: replace(plans[id(decisions.ops)], decisions=decisions),
    )
    assert taken.total_seconds == fast.total_seconds
    assert taken.gap == pytest.approx(0.02)
    assert taken.account_excess == pytest.approx(0.005)


def made_up(plan: Plan, account: float) -> Decisions:
    """Returns a plan's decisions with an account of their own."""
    return replace(plan.decisions, certificate=Certificate(account, account, account, "made up"))


def beside_a_rival(plans: tuple[Plan, Plan], accounts: tuple[float, float]) -> Plan:
    """Returns which of two plans is taken, the first the solver's, the second that of a published system."""
    own, rival = (made_up(plan, account) for plan, account in zip(plans, accounts, strict=True))
    by_ops = {id(own.ops): plans[0], id(rival.ops): plans[1]}
    return best_on_schedule(
        [Candidate(own)],
        [policy_named("instinfer", plans[0].hw)],
        lambda policy, limit: [Candidate(rival)] if accounts[1] <= limit else [],
        lambda decisions: replace(by_ops[id(decisions.ops)], decisions=decisions),
    )


def test_a_published_system_whose_streams_fill_a_link_is_tried_on_the_schedule() -> None:
    """The account of streams counts on a part of a link, so a schedule may be as much better than it."""
    slow, fast = sorted((wide_plan("flexgen-ssd"), wide_plan("instinfer")), key=lambda p: -p.total_seconds)
    least = slow.total_seconds
    taken = beside_a_rival((slow, fast), (0.6 * least, 1.17 * least))
    assert taken.total_seconds == fast.total_seconds
    assert taken.decisions.certificate.objective == 0.6 * least
    assert taken.decisions.certificate.account == 1.17 * least
    left = beside_a_rival((slow, fast), (0.6 * least, 1.3 * least))
    assert left.total_seconds == slow.total_seconds


def test_the_proof_counts_a_rival_that_is_better_by_the_account_alone() -> None:
    slow, fast = sorted((wide_plan("flexgen-ssd"), wide_plan("instinfer")), key=lambda p: -p.total_seconds)
    least = fast.total_seconds
    taken = beside_a_rival((fast, slow), (0.9 * least, 0.8 * least))
    assert taken.total_seconds == least
    assert (taken.bound, taken.gap) == (0.8 * least, 0.0)
    assert taken.account_excess == pytest.approx(0.125)


def test_another_order_is_tried_where_the_schedule_is_far_above_the_account() -> None:
    slow, fast = sorted((wide_plan("flexgen-ssd"), wide_plan("instinfer")), key=lambda p: -p.total_seconds)
    asked: list[float] = []

    def taken(account: float) -> Plan:
        own, paced = made_up(slow, account), made_up(fast, 1.001 * account)
        plans = {id(own.ops): slow, id(paced.ops): fast}

        def other_order() -> list[Decisions]:
            asked.append(account)
            return [paced]

        return best_on_schedule(
            [Candidate(own, other_order)],
            [],
            lambda policy, limit: [],
            lambda decisions: replace(plans[id(decisions.ops)], decisions=decisions),
        )

    near, far = slow.total_seconds / 1.009, slow.total_seconds / 1.02
    assert taken(near).total_seconds == slow.total_seconds
    assert taken(far).total_seconds == fast.total_seconds
    assert asked == [far]


def test_fewer_tiers_are_tried_where_the_schedule_is_far_above_the_account() -> None:
    """After a brief search; what turns out better by the account is searched for in full, so that it is proven."""
    slow, fast = sorted((wide_plan("flexgen-ssd"), wide_plan("instinfer")), key=lambda p: -p.total_seconds)
    asked: list[bool] = []

    def taken(account: float, plain: float) -> Plan:
        own, fewer = made_up(slow, account), made_up(fast, plain)
        by_ops = {id(own.ops): slow, id(fewer.ops): fast}

        def plainly(limit: float, briefly: bool) -> list[Candidate]:
            assert limit == pytest.approx(1.01 * slow.total_seconds)
            asked.append(briefly)
            return [Candidate(fewer)]

        asked.clear()
        return best_on_schedule(
            [Candidate(own)],
            [policy_named("instinfer", slow.hw)],
            lambda policy, limit: [],
            lambda decisions: replace(by_ops[id(decisions.ops)], decisions=decisions),
            plainly,
        )

    near, far = slow.total_seconds / 1.009, slow.total_seconds / 1.02
    assert taken(near, near).total_seconds == slow.total_seconds
    assert asked == []
    plan = taken(far, 1.001 * far)
    assert (plan.total_seconds, asked) == (fast.total_seconds, [True])
    assert (plan.decisions.certificate.objective, plan.account_excess) == (far, pytest.approx(0.001))
    assert taken(far, 0.9 * far).bound == 0.9 * far
    assert asked == [True, False]


def test_a_placement_is_planned_once_even_where_its_other_order_is_the_better_one() -> None:
    slow, fast = sorted((wide_plan("flexgen-ssd"), wide_plan("instinfer")), key=lambda p: -p.total_seconds)
    account = slow.total_seconds / 1.02
    own, paced = made_up(slow, account), made_up(fast, account)
    by_ops = {id(own.ops): slow, id(paced.ops): fast}
    planned: list[str] = []

    def make(decisions: Decisions) -> Plan:
        planned.append("own" if decisions.ops is own.ops else "paced")
        return replace(by_ops[id(decisions.ops)], decisions=decisions)

    taken = best_on_schedule(
        [Candidate(own, lambda: [paced])],
        [policy_named("instinfer", slow.hw)],
        lambda policy, limit: [Candidate(own, lambda: [paced])],
        make,
    )
    assert taken.total_seconds == fast.total_seconds
    assert planned == ["own", "paced"]
