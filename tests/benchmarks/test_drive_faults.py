"""The benchmark of faults: one run of every kind, and the table."""

import pytest

from benchmarks.drive_faults import KINDS, Run, run_one, table


@pytest.mark.parametrize("seed", range(len(KINDS)))
def test_a_fault_of_every_kind_leaves_the_tokens_as_they_are(seed: int) -> None:
    found = run_one(seed)
    assert found.kind == KINDS[seed].name
    assert found.same


def test_the_table_counts_by_kind() -> None:
    found = [Run("stops", 0, True, 1, 30.0), Run("stops", 1, False, 0, 1.0)]
    assert table(found)[1:] == [("stops", "2", "1", "1", "15.5")]
