"""SparF: what it reads of a head and a context, for all layers or for each."""

import json
from typing import Any

import pytest

from partitioner import SparF, Workload
from partitioner.errors import WorkloadError
from partitioner.sparsity import sparsity_text


def test_an_eighth_by_traffic_is_an_eighth_of_the_channels_and_a_sixteenth_of_the_tokens() -> None:
    eighth = SparF.ratio(8)
    assert (eighth.channels(128), eighth.tokens(2048), eighth.newest(2048)) == (16, 128, 32)
    assert (eighth.channels(32), eighth.tokens(1), eighth.newest(1)) == (4, 1, 1)
    assert eighth.tokens(2049) == 129


def test_channels_and_tokens_may_be_given() -> None:
    given = SparF(16, 128)
    assert (given.channels(128), given.tokens(100_000), given.newest(100_000)) == (16, 128, 32)
    assert given.channels(8) == 8
    assert str(given) == "SparF r=16 k=128"


@pytest.mark.parametrize("compression", [1, 0, -8, 0.125, float("nan"), float("inf"), True, "8"])
def test_a_ratio_must_compress(compression: Any) -> None:
    with pytest.raises(WorkloadError, match=r"needs a finite number above 1 \(8 reads one eighth\), got"):
        SparF.ratio(compression)


def test_a_ratio_is_kept() -> None:
    assert SparF.ratio(8) == SparF(num_channels=None, num_tokens=None, compression=8.0)


@pytest.mark.parametrize(("given", "name"), [((), "r"), ((16,), "k"), ((0, 4), "r"), ((4, 1.5), "k")])
def test_both_counts_are_needed(given: tuple[Any, ...], name: str) -> None:
    with pytest.raises(WorkloadError, match=f"SparF needs {name} as a whole number of at least 1, got"):
        SparF(*given)


def test_counts_and_a_ratio_exclude_each_other() -> None:
    with pytest.raises(WorkloadError, match="r and k, or a ratio, and not both"):
        SparF(4, 4, 8.0)


@pytest.mark.parametrize("sparsity", [8, "1/8", [], [8], [SparF.ratio(8), "exact"]])
def test_what_is_no_sparsity_is_refused(sparsity: Any) -> None:
    with pytest.raises(
        WorkloadError, match=r"must be a SparF, one SparF or None for each layer, or None, got"
    ):
        Workload(sparsity=sparsity)


@pytest.mark.parametrize(
    "sparsity", [None, SparF.ratio(8), SparF(16, 128), (None, SparF.ratio(4)), [SparF(2, 3), SparF(2, 3)]]
)
def test_a_workload_with_sparsity_survives_json(sparsity: Any) -> None:
    workload = Workload(sparsity=sparsity)
    assert Workload.from_dict(json.loads(json.dumps(workload.to_dict()))) == workload


def test_layers_that_are_all_exact_are_no_sparsity() -> None:
    assert Workload(sparsity=(None, None)) == Workload()


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(
        WorkloadError, match=r"sparsity has the fields \['compression', 'num_channels', 'num_tokens'\]"
    ):
        Workload.from_dict({"sparsity": {"ratio": 8}})


def test_equal_layers_are_told_together() -> None:
    eighth = SparF.ratio(8)
    assert sparsity_text((None, None, eighth, eighth, eighth)) == "2 x exact, 3 x SparF 1/8"
    assert (sparsity_text(eighth), sparsity_text(None)) == ("SparF 1/8", None)
