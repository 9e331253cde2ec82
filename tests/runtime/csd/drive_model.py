"""What a drive should hold, as a dictionary of plain arrays, and the checks that hold it against the drive."""

from dataclasses import dataclass, field

import numpy as np

from runtime.csd import Configure, Drive, Health, Read

MAX_LEN = 40
LAYERS, HEADS, HEAD_SIZE = 2, 2, 4


@dataclass
class Sequence:
    """K and V, ``[2, heads, MAX_LEN, head_size]``, of which tokens ``first`` to ``length`` are stored."""

    pair: np.ndarray = field(default_factory=lambda: np.zeros((2, HEADS, MAX_LEN, HEAD_SIZE), np.float32))
    first: int = 0
    length: int = 0

    def append(self, pair: np.ndarray, start: int) -> None:
        """Writes tokens, ``[2, heads, tokens, head_size]``, at ``start`` and drops later ones."""
        self.cut(start)
        self.length = start + pair.shape[2]
        self.pair[:, :, start : self.length] = pair

    def cut(self, length: int) -> None:
        """Drops the tokens from ``length`` on."""
        if length == 0:
            self.first = 0
        self.pair[:, :, length:] = 0
        self.length = length

    def drop(self, first: int, last: int) -> None:
        """Drops a range at the front or at the end, as far as it is stored."""
        if first <= self.first and last >= self.length:
            self.cut(0)
        elif first < last and self.first < last and first < self.length:
            if first <= self.first:
                self.first = last
            else:
                self.cut(first)


Caches = dict[int, dict[tuple[int, int], Sequence]]
"""Task to (layer, row) to sequence."""


def new_cache(command: Configure) -> dict[tuple[int, int], Sequence]:
    """Returns the empty sequences of a task."""
    return {(layer, row): Sequence() for layer in range(LAYERS) for row in range(command.batch_size)}


def check_contents(drive: Drive, caches: Caches) -> None:
    """Reads all that is stored and compares it, channel pages and sums of V included."""
    for number, cache in caches.items():
        store = drive._tasks.store(number)
        for layer in range(LAYERS):
            sequences = [
                sequence
                for (at, _), sequence in sorted(cache.items(), key=lambda item: item[0])
                if at == layer
            ]
            first = np.array([sequence.first for sequence in sequences])
            lengths = np.array([sequence.length for sequence in sequences])
            assert (store.lengths(layer) == lengths).all()
            assert (store.first_tokens[layer] == first).all()
            found = drive.execute(Read(layer, first=first, task=number), 0.0).value
            for row, sequence in enumerate(sequences):
                part = slice(sequence.first, sequence.length)
                for side in range(2):
                    assert (found[side][row, :, part] == sequence.pair[side, :, part]).all()
                keeps_channels = store.task.keeps_channels(layer)
                assert store.ftl.channel_table(layer).size == 0 or keeps_channels
                if keeps_channels:
                    _check_channels(drive, number, layer, row, sequence)
                    wanted = sequence.pair[1, :, part].sum(axis=1, dtype=np.float64)
                    np.testing.assert_allclose(store.value_sums(layer)[row], wanted, atol=1e-4)


def _check_channels(drive: Drive, number: int, layer: int, row: int, sequence: Sequence) -> None:
    """Requires K by channel in every group that is whole, and no page behind them."""
    store = drive._tasks.store(number)
    task, table = store.task, store.ftl.channel_table(layer)[row]
    size, width = task.channel_tokens, HEAD_SIZE // task.channel_pages
    whole = int(store.ftl.num_groups[layer, row]) * task.group_tokens // size
    assert store.ftl.num_channel_groups[layer, row] == whole
    assert (table[:, :, whole:] == -1).all()
    for group in range(whole):
        kept = slice(max(sequence.first, group * size), (group + 1) * size)
        if kept.start >= kept.stop:
            assert (table[:, :, group] == -1).all()
            continue
        pages = drive._nand.read(table[:, :, group].reshape(-1)).view(np.float32)[:, : width * size]
        found = pages.reshape(HEADS, task.channel_pages * width, size)
        wanted = sequence.pair[0, :, kept].transpose(0, 2, 1)
        assert (found[:, :, kept.start - group * size :] == wanted).all()


def check_accounting(drive: Drive, caches: Caches) -> None:
    """Counts valid, free and reserved pages from the tables and the array, and compares with what the drive says."""
    nand, geometry = drive._nand, drive._nand.geometry
    stores = {number: drive._tasks.store(number) for number in caches}
    mapped = [store.ftl.mapped()[0] for store in stores.values()]
    ppns = np.concatenate([np.zeros(0, np.int64), *mapped])
    assert len(np.unique(ppns)) == len(ppns)
    health = drive.execute(Health(scan=True), 0.0).value
    assert health.checksum_errors == health.misdirected_pages == 0
    assert health.valid_bytes == len(ppns) * geometry.page_bytes
    assert health.pages_scanned == len(ppns)
    programmed = int(nand.next_page.sum())
    assert health.free_bytes == (geometry.num_pages - programmed) * geometry.page_bytes
    used = np.flatnonzero(nand.next_page)
    assert set(np.unique(ppns // geometry.pages_per_block)) == set(
        used
    )  # a block without a valid page is erased
    held = np.zeros(geometry.num_units, np.int64)
    promised = np.zeros_like(held)
    for store, pages in zip(stores.values(), mapped, strict=True):
        blocks = np.unique(pages // geometry.pages_per_block)
        own = np.bincount([geometry.unit_of(int(block)) for block in blocks], minlength=geometry.num_units)
        share = store.ftl.share
        assert (share.held == own).all()
        held += own
        promised += np.maximum(share.reserved - own, 0)
    assert (drive._free.promised == promised).all()
    assert (drive._free.erased == geometry.blocks_per_plane - held).all()
    assert (held + promised <= geometry.blocks_per_plane).all()
    assert (
        health.reserved_bytes == int((held + promised).sum()) * geometry.pages_per_block * geometry.page_bytes
    )
    assert health.buffered_tokens == sum(int(store.buffer.fill.sum()) for store in stores.values())
    assert health.dram_buffer_bytes == sum(store.task.buffer_bytes for store in stores.values())
