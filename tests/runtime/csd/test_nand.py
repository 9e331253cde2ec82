import numpy as np
import pytest

from runtime.csd.errors import ChecksumError, DriveError
from runtime.csd.geometry import Geometry
from runtime.csd.nand import NandArray

from .drives import FLASH


@pytest.fixture
def nand() -> NandArray:
    return NandArray(Geometry.of(FLASH))


def pages(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64), np.uint8)


def program(nand: NandArray, ppns: np.ndarray, data: np.ndarray) -> None:
    nand.program(ppns, data, ppns.astype(np.uint64))


def test_pages_come_back_as_they_were_programmed(nand: NandArray) -> None:
    ppns, data = np.array([0, 8, 1, 9, 4000]), pages(5)
    ppns[4] = 512  # the first page of another block far away
    program(nand, ppns, data)
    assert (nand.read(ppns[::-1]) == data[::-1]).all()
    assert (nand.pages_programmed, nand.pages_read) == (5, 5)


def test_a_page_is_programmed_once_until_its_block_is_erased(nand: NandArray) -> None:
    program(nand, np.array([0]), pages(1))
    with pytest.raises(DriveError, match=r"channel=0, die=0.* is programmed already; erase its block"):
        program(nand, np.array([0]), pages(1))
    with pytest.raises(DriveError, match="is programmed already"):
        program(nand, np.array([1, 1]), pages(2))
    nand.erase(np.array([0]))
    program(nand, np.array([0]), pages(1, seed=1))
    assert (nand.read(np.array([0])) == pages(1, seed=1)).all()
    assert nand.wear[0] == 1


@pytest.mark.parametrize("ppns", [[1], [0, 2], [8, 0, 3]])
def test_pages_of_a_block_are_programmed_in_sequence(nand: NandArray, ppns: list[int]) -> None:
    with pytest.raises(DriveError, match=r"is out of order; the next page of its block is"):
        program(nand, np.array(ppns), pages(len(ppns)))
    assert nand.pages_programmed == 0
    assert nand.next_page.sum() == 0


def test_empty_pages_cannot_be_read(nand: NandArray) -> None:
    program(nand, np.array([0]), pages(1))
    with pytest.raises(DriveError, match=r"page=1\) holds nothing; program a page before reading it"):
        nand.read(np.array([0, 1]))


def test_a_flipped_bit_is_found(nand: NandArray) -> None:
    ppns = np.arange(8)
    program(nand, ppns, pages(8))
    assert nand.verify(ppns).size == 0
    nand.flip_bit(3, 77)
    assert nand.verify(ppns).tolist() == [3]
    with pytest.raises(ChecksumError, match=r"1 of 8 pages fail their checksum, the first at .*page=3"):
        nand.read(ppns)
    nand.flip_bit(3, 77)
    assert nand.verify(ppns).size == 0


def test_memory_follows_what_is_stored(nand: NandArray) -> None:
    for _ in range(50):
        program(nand, np.arange(64), pages(64))
        assert nand.stored_bytes == 64 * 64
        nand.erase(np.arange(8))
        assert nand.stored_bytes == 0
    assert len(nand.view().chunk_addresses) == 1
    assert len(nand.view().frames) <= 16
    assert nand.blocks_erased == 400


def test_many_blocks_and_chunks() -> None:
    geometry = Geometry(2, 1, 1, 8, 16, 1 << 20)  # 16 pages of 1 MiB in a chunk
    nand = NandArray(geometry)
    data = np.arange(40, dtype=np.uint8)[:, None] * np.ones((1, 1 << 20), np.uint8)
    program(nand, np.arange(40), data)
    assert len(nand.view().chunk_addresses) == 3
    assert (nand.read(np.arange(40))[:, ::4096] == data[:, ::4096]).all()


def test_pages_of_a_lane_lie_side_by_side(nand: NandArray) -> None:
    """Pages 0, 3, 6, ... are of the first of three lanes; those of a lane are read from neighbouring frames."""
    ppns, data = np.arange(8), pages(6)
    nand.program(ppns[:6], data, ppns[:6].astype(np.uint64), num_lanes=3)
    frames = nand.view().frames[nand.view().slot[0], :6]
    assert frames.tolist() == [0, 2, 4, 1, 3, 5]
    assert (nand.read(ppns[:6]) == data).all()
