import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.csd import Configure, Drive, DriveError, Health, Identify, Write
from runtime.csd.address import AddressLayout
from runtime.csd.task import Task

from .drives import SPEC, configured, tokens

OPT_13B = Task(40, 40, 40, 128, np.dtype(np.float16), 64, 2048, page_bytes=4096, channel_group=8)


def test_the_paper_s_shape_takes_32_bits() -> None:
    layout = AddressLayout.of(OPT_13B)
    assert str(layout) == "32 bits: task 2 | batch 6 | layer 6 | token 7 | head 6 | channel 5"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"max_len": 131_072},
            "64 bits: unused 26 | task 2 | batch 6 | layer 6 | token 13 | head 6 | channel 5",
        ),
        ({"number": 4}, "64 bits: unused 31 | task 3 | batch 6 | layer 6 | token 7 | head 6 | channel 5"),
        (
            {"channel_group": None},
            "32 bits: unused 4 | task 2 | batch 6 | layer 6 | token 7 | head 6 | channel 1",
        ),
        ({"batch_size": 1}, "32 bits: unused 6 | task 2 | batch 0 | layer 6 | token 7 | head 6 | channel 5"),
    ],
)
def test_fields_get_the_bits_that_the_shape_needs(changes: dict[str, int], text: str) -> None:
    assert str(AddressLayout.of(dataclasses.replace(OPT_13B, **changes))) == text


@given(st.lists(st.integers(0, 10), min_size=6, max_size=6), st.integers(0, 2**32 - 1))
def test_fields_come_back(widths: list[int], seed: int) -> None:
    layout, rng = AddressLayout(*widths), np.random.default_rng(seed)
    values = [rng.integers(0, 1 << bits, (3, 5)) for bits in widths]
    packed = layout.pack(*values)
    assert packed.dtype == np.uint64
    assert (packed < 2**layout.num_bits).all() or layout.num_bits == 64
    for found, value in zip(layout.unpack(packed), values, strict=True):
        assert (found == value).all()


def test_addresses_are_in_the_order_of_the_fields() -> None:
    layout = AddressLayout(1, 2, 3, 4, 5, 6)
    assert int(layout.pack(0, 0, 0, 0, 0, 63)) == 63
    assert int(layout.pack(0, 0, 0, 0, 1, 0)) == 1 << 6
    assert int(layout.pack(1, 0, 0, 0, 0, 0)) == 1 << 20
    everything = AddressLayout(14, 10, 10, 10, 10, 10)
    assert int(everything.pack(2**14 - 1, *[2**10 - 1] * 5)) == 2**64 - 1


def test_a_value_that_does_not_fit_is_refused() -> None:
    layout = AddressLayout(2, 2, 2, 2, 2, 2)
    with pytest.raises(
        DriveError, match=r"layer 1 to 4 does not fit the 2 bits of 32 bits: .*; use the layout of"
    ):
        layout.pack(0, 0, np.array([1, 4]), 0, 0, 0)
    with pytest.raises(DriveError, match="head -1 to 0 does not fit"):
        layout.pack(0, 0, 0, 0, np.array([-1, 0]), 0)


def test_more_than_64_bits_are_refused() -> None:
    with pytest.raises(
        DriveError, match=r"take 65 bits \(task 2 .*\) and a page's spare area has 64; configure fewer"
    ):
        AddressLayout(2, 13, 13, 20, 10, 7)


def test_a_drive_shows_its_layout_and_keeps_an_address_with_every_page() -> None:
    """Two tasks, both kinds of pages: every mapped page says where it belongs, and no two say the same."""
    drive, rng = configured(channel_group=2), np.random.default_rng(0)
    drive.execute(Configure(2, 2, 2, 4, np.dtype(np.float32), 3, 40, task=5), 0.0)
    key = tokens(rng, 3, 2, 40, 4)
    for task in (0, 5):
        drive.execute(Write(1, key, key, np.zeros(3, int), task=task), 0.0)
    first, second = drive.execute(Identify(), 0.0).value.tasks
    assert (
        str(first.addresses)
        == "32 bits: unused 20 | task 2 | batch 2 | layer 1 | token 4 | head 1 | channel 2"
    )
    assert (first.task.number, second.task.number, second.addresses.task) == (0, 5, 3)
    for identity in (first, second):
        ftl = drive._tasks.store(identity.task.number).ftl
        ppns, expected = ftl.mapped()
        found = drive._nand.addresses(ppns)
        assert (found == expected).all()
        assert len(np.unique(found)) == len(found) == ftl.num_valid
        fields = identity.addresses.unpack(drive._nand.addresses(ftl.table(1)[2, 1, 1, 3:4]))
        assert [int(value[0]) for value in fields] == [identity.task.number, 2, 1, 3, 1, 1]
    place = drive._tasks.store(0).ftl.channel_table(1)[1, 0, 1, 2:3]
    fields = first.addresses.unpack(drive._nand.addresses(place))
    assert [int(value[0]) for value in fields] == [0, 1, 1, 2, 0, 3]


def test_a_scan_finds_a_mapping_that_leads_astray() -> None:
    drive, rng = configured(channel_group=2), np.random.default_rng(0)
    key = tokens(rng, 3, 2, 40, 4)
    drive.execute(Write(0, key, key, np.zeros(3, int)), 0.0)
    assert drive.execute(Health(scan=True), 0.0).value.misdirected_pages == 0
    ftl = drive._tasks.store(0).ftl
    ftl.table(0)[0, 0, 0, :2] = ftl.table(0)[0, 0, 0, 1::-1]
    ftl.channel_table(0)[1, :, 0, 0] = ftl.channel_table(0)[1, ::-1, 0, 0]
    report = drive.execute(Health(scan=True), 0.0).value
    assert (report.misdirected_pages, report.checksum_errors) == (4, 0)
    assert drive.execute(Health(), 0.0).value.misdirected_pages == 0


def test_an_empty_page_has_no_address() -> None:
    with pytest.raises(DriveError, match="holds nothing; program a page before reading it"):
        Drive(SPEC)._nand.addresses(np.array([0]))
