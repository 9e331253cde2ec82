"""Pages in a file: as in memory, and what can go wrong with a disk."""

import ctypes
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.csd import (
    Attend,
    CapacityError,
    Configure,
    Drive,
    DriveError,
    FileBacking,
    Identify,
    Read,
    Write,
    file_arena,
)
from runtime.csd.arena import PageArena
from runtime.csd.file_arena import FileArena
from runtime.csd.memory_arena import MemoryArena

from .drives import SPEC, tokens

TASK = Configure(2, 2, 2, 4, np.dtype(np.float32), 3, 40)
KINDS = {"file, direct", "file, page cache dropped"}


def pages(count: int, page_bytes: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, page_bytes), np.uint8)


def bytes_at(arena: PageArena, frame: int) -> bytes:
    """Follows the tables as the kernels do."""
    offset = (frame & ((1 << arena.shift) - 1)) * arena.page_bytes
    address = int(arena.chunk_addresses[frame >> arena.shift]) + offset
    return ctypes.string_at(address, arena.page_bytes)


@pytest.fixture
def _without_direct_io(monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform without direct I/O, vectored I/O and preallocation."""
    for name in ("O_DIRECT", "preadv", "pwritev", "posix_fallocate"):
        monkeypatch.delattr(os, name, raising=False)


@settings(max_examples=30, deadline=None)
@given(
    page_bytes=st.sampled_from([64, 4096, 5000, 16384]),
    steps=st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1)), min_size=1, max_size=6),
    stage_pages=st.integers(1, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_holds_what_memory_holds(
    tmp_path_factory: pytest.TempPathFactory, page_bytes: int, steps: list[Any], stage_pages: int, seed: int
) -> None:
    """Random programs and releases, in any order of frames, read back and staged."""
    rng = np.random.default_rng(seed)
    file, memory = (
        FileArena(page_bytes, FileBacking(tmp_path_factory.getbasetemp()), "csd0"),
        MemoryArena(page_bytes),
    )
    file.stage_pages = stage_pages
    held = np.zeros(0, np.int32)
    for number, (count, released) in enumerate(steps):
        data = pages(count, page_bytes, seed=number)
        taken = file.take(count)
        assert (memory.take(count) == taken).all()
        order = rng.permutation(count)
        for arena in (file, memory):
            arena.write(taken[order], data)
        held = rng.permutation(np.concatenate([held, taken]))
        assert file.num_frames == len(held)
        assert (file.read(held) == memory.read(held)).all()
        sets = np.array_split(held, 3)
        for chosen, _ in zip(
            sets, file.staged([lambda chosen=chosen: chosen for chosen in sets]), strict=True
        ):
            assert all(bytes_at(file, frame) == bytes_at(memory, frame) for frame in chosen.tolist())
        cut = int(released * len(held))
        for arena in (file, memory):
            arena.release(held[:cut])
        held = held[cut:]
    file.close()


def test_identify_says_where_pages_lie(tmp_path: Path) -> None:
    assert Drive(SPEC).execute(Identify(), 0.0).value.backing == "memory"
    assert Drive(SPEC, backing=FileBacking(tmp_path)).execute(Identify(), 0.0).value.backing in KINDS


@pytest.mark.usefixtures("_without_direct_io")
def test_a_platform_without_direct_io_gives_the_same_pages(tmp_path: Path) -> None:
    arena = FileArena(64, FileBacking(tmp_path), "csd0")
    assert arena.backing == "file, page cache dropped"
    frames, data = arena.take(40), pages(40)
    arena.write(frames[::-1], data)
    assert (arena.read(frames) == data[::-1]).all()


def test_a_file_system_that_cannot_preallocate_gives_the_same_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refused, raising=False)
    arena = FileArena(64, FileBacking(tmp_path), "csd0")
    frames, data = arena.take(3), pages(3)
    arena.write(frames, data)
    assert (arena.read(frames) == data).all()


def test_neighbouring_frames_go_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arena = FileArena(4096, FileBacking(tmp_path), "csd0")
    frames = arena.take(30)
    arena.write(frames, pages(30, 4096))
    asked: list[tuple[int, int]] = []
    read = arena._file.read
    monkeypatch.setattr(
        arena._file,
        "read",
        lambda buffer, offset: asked.append((offset, buffer.nbytes)) or read(buffer, offset),
    )
    arena.read(np.array([5, 3, 4, 20, 21, 29]))
    assert asked == [(3 * 4096, 3 * 4096), (20 * 4096, 2 * 4096), (29 * 4096, 4096)]


def test_several_threads_stage_at_once(tmp_path: Path) -> None:
    arena, data = FileArena(64, FileBacking(tmp_path), "csd0"), pages(400)
    arena.write(arena.take(400), data)
    wrong: list[int] = []

    def check(thread: int) -> None:
        for turn in range(5):
            sets = [np.arange(thread * 100 + 10 * i, thread * 100 + 10 * (i + 1)) for i in range(10)]
            staged = arena.staged([lambda chosen=chosen: chosen for chosen in sets])
            for chosen, _ in zip(sets, staged, strict=True):
                wrong.extend(f + turn for f in chosen.tolist() if bytes_at(arena, f) != data[f].tobytes())

    threads = [threading.Thread(target=check, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("window", [None, 9])
def test_attention_is_the_same_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int | None
) -> None:
    """Pages of one pair, of a part of a sequence and of several sequences at a time."""
    rng = np.random.default_rng(0)
    key, value, query = tokens(rng, 3, 2, 37, 4), tokens(rng, 3, 2, 37, 4), tokens(rng, 3, 2, 4)
    lengths, outputs = np.array([37, 0, 22]), []
    for stage_pages in (0, 1, 24, 100):
        monkeypatch.setattr(file_arena, "STAGE_BYTES", stage_pages * 4096)
        drive = Drive(SPEC, backing=FileBacking(tmp_path) if stage_pages else None)
        drive.execute(TASK, 0.0)
        drive.execute(Write(0, key, value, np.zeros(3, int)), 0.0)
        done = drive.execute(Attend(0, query, None, None, lengths, 0.5, window=window), 0.0)
        outputs.append((done.value, done.detail.pages_read))
    for output, pages_read in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0][0])
        assert pages_read == outputs[0][1]


class TestWhatCanGoWrong:
    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        message = (
            r"csd0: no file for pages can be made in .*nowhere: No such file .*; give a folder that exists"
        )
        with pytest.raises(DriveError, match=message):
            Drive(SPEC, backing=FileBacking(tmp_path / "nowhere"))

    def test_a_folder_that_cannot_be_written_to(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(**_: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("tempfile.mkstemp", refused)
        with pytest.raises(DriveError, match=r"in .*: Permission denied; give a folder .* can be written to"):
            Drive(SPEC, backing=FileBacking(tmp_path))

    def test_a_disk_that_is_too_small(self, tmp_path: Path) -> None:
        with pytest.raises(
            CapacityError, match=r"csd0: the disk of .* has no room for \d{18} bytes .*; make room"
        ):
            Drive(SPEC, backing=FileBacking(tmp_path, capacity_bytes=10**18 - 1))

    def test_a_disk_that_fills_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was written stays, and once there is room again the drive goes on."""

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(file_arena, "_GROWTH_BYTES", 0)
        drive, key = in_file(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(os, "posix_fallocate", full, raising=False)
            patched.setattr(os, "ftruncate", full)
            with pytest.raises(
                CapacityError, match=r"csd0: the disk of .*: No space left on device; make room"
            ):
                drive.execute(Write(1, key, key, np.zeros(3, int)), 0.0)
        assert (drive.execute(Read(0), 0.0).value[0] == key).all()
        drive.execute(Write(1, key, key, np.zeros(3, int)), 0.0)
        assert (drive.execute(Read(1), 0.0).value[1] == key).all()

    def test_a_capacity_that_is_used_up(self, tmp_path: Path) -> None:
        """40 tokens of 3 sequences are 120 pages of a layer."""
        drive, key = in_file(tmp_path, capacity_bytes=125 * 4096)
        message = r"csd0: the file of pages in .* has 512000 bytes and would need \d+; give .* a larger capacity_bytes"
        with pytest.raises(CapacityError, match=message):
            drive.execute(Write(1, key, key, np.zeros(3, int)), 0.0)
        assert (drive.execute(Read(0), 0.0).value[0] == key).all()

    def test_a_capacity_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(
            DriveError, match="capacity_bytes is 0; give at least 1, or None to let the file grow"
        ):
            FileBacking(tmp_path, capacity_bytes=0)

    def test_a_file_that_was_truncated(self, tmp_path: Path) -> None:
        drive, key = in_file(tmp_path)
        os.ftruncate(drive._nand.arena._file._file, 8192)
        message = r"csd0: the file of pages in .* ends at byte 8192 of \d+: it was truncated, .*; open the drive again"
        for command in (Read(0), Attend(0, key[:, :, 0], None, None, np.full(3, 40), 0.5)):
            with pytest.raises(DriveError, match=message):
                drive.execute(command, 0.0)

    def test_a_disk_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(*_: Any) -> None:
            raise OSError(errno.EIO, "Input/output error")

        drive, _ = in_file(tmp_path)
        monkeypatch.setattr("runtime.csd.page_file._read_at", failing)
        with pytest.raises(DriveError, match=r"cannot be used: Input/output error; look after the disk"):
            drive.execute(Read(0), 0.0)

    def test_a_closed_drive(self, tmp_path: Path) -> None:
        drive, _ = in_file(tmp_path)
        drive.close()
        drive.close()
        with pytest.raises(
            DriveError, match="csd0: the drive is closed and its pages are gone; make a new one"
        ):
            drive.execute(Read(0), 0.0)


def in_file(folder: Path, capacity_bytes: int | None = None) -> tuple[Drive, np.ndarray]:
    """Returns a drive with one full layer of 120 pages, and its keys, which are its values too."""
    drive = Drive(SPEC, backing=FileBacking(folder, capacity_bytes))
    drive.execute(TASK, 0.0)
    key = tokens(np.random.default_rng(0), 3, 2, 40, 4)
    drive.execute(Write(0, key, key, np.zeros(3, int)), 0.0)
    return drive, key


class TestNothingStaysBehind:
    def test_the_folder_is_empty_while_a_drive_is_open(self, tmp_path: Path) -> None:
        drive, _ = in_file(tmp_path)
        assert not list(tmp_path.iterdir())
        drive.close()

    def test_a_drive_that_nobody_holds_any_more_is_closed(self, tmp_path: Path) -> None:
        drive, _ = in_file(tmp_path)
        file = drive._nand.arena._file._file
        del drive
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)

    def test_a_process_that_is_killed(self, tmp_path: Path) -> None:
        code = (
            "import os, signal, numpy; from pathlib import Path; from runtime.csd import FileBacking\n"
            "from runtime.csd.file_arena import FileArena\n"
            f"arena = FileArena(64, FileBacking(Path({str(tmp_path)!r})), 'csd0')\n"
            "arena.write(arena.take(3), numpy.zeros((3, 64), numpy.uint8))\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        assert not list(tmp_path.iterdir())
