"""Retries and drives that stop, and all faults together."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_models.hardware import FaultSpec
from runtime.csd import (
    Attend,
    Configure,
    Drive,
    DriveError,
    DriveStopped,
    Health,
    MediaError,
    Read,
    Sparse,
    Write,
)

from .drives import configured, spec, tokens
from .failing_drives import become, faulty, health

START = np.zeros(3, np.int64)


def test_they_are_counted_by_command_and_in_all_and_change_no_value() -> None:
    drive, plain = faulty(read_retries_mean=1.0, read_retries_max=1), configured()
    key = tokens(np.random.default_rng(0), 3, 2, 40, 4)
    for each in (drive, plain):
        each.execute(Write(0, key, key, START), 0.0)
    done, expected = (each.execute(Read(0), 10.0) for each in (drive, plain))
    assert (done.value[0] == key).all()
    assert done.detail.pages_read == done.detail.read_retries == 120
    assert expected.detail.read_retries == 0
    assert done.end_s - 10.0 == pytest.approx((expected.end_s - 10.0) * 2, rel=0.1)
    assert (health(drive).read_retries, health(drive).retries_per_page_read) == (120, 1.0)
    assert health(plain).retries_per_page_read == health(configured()).retries_per_page_read == 0.0


def test_sparse_attention_loses_pages_as_often_as_stated() -> None:
    """It draws by how many pages it read, so where they lie does not matter here."""
    drive, rng = faulty(task={"channel_group": 2}), np.random.default_rng(0)
    key, query = tokens(rng, 3, 2, 39, 4), tokens(rng, 3, 2, 4)
    drive.execute(Write(0, key, key, START), 0.0)
    sparse = Sparse(2, np.full(3, 8), np.full(3, 2), mean_value=True)
    command = Attend(0, query, None, None, START + 39, 0.5, sparse=sparse)
    become(drive, uncorrectable_per_page_read=0.02)
    read = 0
    for _ in range(3000):
        drive._lost._ppns = np.zeros(0, np.int64)
        read += drive.execute(command, 0.0).detail.pages_read
    assert health(drive).uncorrectable_pages == pytest.approx(0.02 * read, rel=0.1)


def test_a_drive_answers_that_many_commands_and_none_after() -> None:
    drive = faulty(stop_after_commands=3)  # the first one configured it
    drive.execute(Read(0), 0.0)
    with pytest.raises(DriveError, match="layer 9 does not exist"):  # an answer, too
        drive.execute(Read(9), 0.0)
    for _ in range(3):
        with pytest.raises(
            DriveStopped, match="csd0: stopped after 3 commands and answers no more; go on without"
        ):
            drive.execute(Health(), 0.0)


ALL = FaultSpec(
    seed=1,
    read_retries_mean=0.1,
    uncorrectable_per_page_read=0.002,
    program_failure_per_page=0.01,
    worn_blocks=0.2,
)


def history(faults: FaultSpec, name: str = "csd0") -> list[Any]:
    """Runs one sequence of commands and returns all that can be seen of it."""
    drive, rng = Drive(spec(faults=faults), name), np.random.default_rng(0)
    drive.execute(Configure(2, 2, 2, 4, np.dtype(np.float32), 3, 40), 0.0)
    seen: list[Any] = []
    for step, layer in itertools.product(range(40), range(2)):
        new = tokens(rng, 3, 2, 4)
        try:
            done = drive.execute(Attend(layer, new, new, new, START + step + 1, 0.5), float(step))
            seen.append((done.end_s, done.detail.read_retries, done.value.tolist()))
        except MediaError as error:
            seen.append(error.lost)
            again = tokens(rng, 3, 2, step + 1, 4)
            drive.execute(Write(layer, again, again, START), float(step))
    seen.append(health(drive, scan=True))
    return seen


def test_the_same_seed_gives_the_same_faults() -> None:
    first = history(ALL)
    report = first[-1]
    assert (
        min(report.read_retries, report.uncorrectable_pages, report.program_failures, report.retired_blocks)
        > 0
    )
    assert history(ALL) == first
    assert history(dataclasses.replace(ALL, seed=2)) != first
    assert history(ALL, "csd1") != first


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    chances=st.tuples(*[st.sampled_from([0.0, 0.02, 0.2])] * 3),
    steps=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 9)), min_size=1, max_size=15
    ),
)
def test_what_is_not_reported_lost_is_what_was_written(
    seed: int, chances: tuple[float, float, float], steps: list[tuple[int, int, int]]
) -> None:
    """All faults together, random appends: a read gives the right bytes or says which are lost."""
    retries, lost, failed = chances
    drive = faulty(
        seed=seed,
        read_retries_mean=retries,
        uncorrectable_per_page_read=lost / 10,
        program_failure_per_page=failed / 2,
    )
    rng = np.random.default_rng(seed)
    model = np.zeros((2, 3, 2, 40, 4), np.float32)
    lengths = np.zeros((2, 3), np.int64)
    for layer, row, count in steps:
        rows, start = np.array([row]), lengths[layer, row]
        more = min(count, 40 - int(start))
        data = tokens(rng, 1, 2, more, 4)
        try:
            drive.execute(Write(layer, data, data, np.array([start]), rows=rows), 0.0)
            model[layer, row, :, start : start + more] = data
            lengths[layer, row] += more
            got = drive.execute(Read(layer, rows=rows), 0.0).value
            assert (got[0] == model[layer, rows]).all()
            assert (got[1] == model[layer, rows]).all()
        except MediaError as error:
            for part in error.lost:
                assert (part.layer, part.row) == (layer, row)
                assert 0 <= part.first_token < part.last_token <= lengths[layer, row]
            first = error.lost[0].first_token
            again = model[layer, rows, :, first : lengths[layer, row]]
            drive.execute(Write(layer, again, again, np.array([first]), rows=rows), 0.0)
    assert [drive._tasks.store(0).lengths(layer).tolist() for layer in range(2)] == lengths.tolist()
    report = health(drive, scan=True)
    assert report.checksum_errors <= report.uncorrectable_pages
    assert report.pages_scanned == int((lengths // 4).sum()) * 4
