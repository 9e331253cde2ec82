"""A workload says what is generated; the contexts of its steps can be summed over."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partitioner import Workload
from partitioner.errors import PartitionError, WorkloadError

WORKLOADS = st.builds(
    Workload, batch_size=st.integers(1, 9), prompt_len=st.integers(1, 40), decode_len=st.integers(1, 40)
)


def test_defaults_and_the_longest_context() -> None:
    assert Workload() == Workload(batch_size=1, prompt_len=512, decode_len=128, sparsity=None)
    assert Workload(4, 100, 28).max_len == 128


@pytest.mark.parametrize("field", ["batch_size", "prompt_len", "decode_len"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, True, "8", None])
def test_a_field_out_of_range_is_named_with_its_value(field: str, value: Any) -> None:
    given: dict[str, Any] = {field: value}
    with pytest.raises(
        WorkloadError, match=f"Workload.{field} must be a whole number of at least 1, got {value!r}"
    ):
        Workload(**given)


@given(WORKLOADS)
def test_a_workload_survives_json(workload: Workload) -> None:
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict()))) == workload


def test_unknown_fields_are_named() -> None:
    with pytest.raises(
        WorkloadError, match=r"unknown workload fields \['batch'\]; known are \['batch_size', "
    ):
        Workload.from_dict({"batch": 4})
    with pytest.raises(PartitionError):
        Workload.from_dict({"batch_size": 0})


def true_contexts(workload: Workload, with_prefill: bool) -> range:
    """Returns the tokens attended over in each decode step."""
    return range(workload.prompt_len + 1 if with_prefill else 1, workload.max_len)


@given(WORKLOADS, st.booleans(), st.integers(1, 12))
def test_contexts_count_every_step_within_its_range(workload: Workload, with_prefill: bool, num: int) -> None:
    contexts = workload.decode_contexts(with_prefill=with_prefill, num=num)
    true = true_contexts(workload, with_prefill)
    assert sum(weight for _, weight in contexts) == len(true)
    assert len(contexts) == min(num, len(true))
    assert all(context in true and weight > 0 for context, weight in contexts)
    assert [c for c, _ in contexts] == sorted({c for c, _ in contexts})


@given(WORKLOADS, st.booleans(), st.integers(1, 12))
def test_contexts_integrate_what_grows_linearly(workload: Workload, with_prefill: bool, num: int) -> None:
    """To half a token per step: a middle that falls between two contexts is rounded down."""
    contexts = workload.decode_contexts(with_prefill=with_prefill, num=num)
    true = true_contexts(workload, with_prefill)
    assert 0 <= sum(true) - sum(c * w for c, w in contexts) <= len(true) / 2


@given(WORKLOADS, st.booleans())
def test_enough_contexts_are_all_contexts(workload: Workload, with_prefill: bool) -> None:
    contexts = workload.decode_contexts(with_prefill=with_prefill, num=100)
    assert contexts == tuple((c, 1.0) for c in true_contexts(workload, with_prefill))


def test_a_prefill_that_gives_the_only_token_leaves_no_step() -> None:
    workload = Workload(2, 6, 1)
    assert workload.decode_contexts(with_prefill=True) == ()
    assert workload.decode_contexts(with_prefill=False) == tuple((n, 1.0) for n in range(1, 7))
