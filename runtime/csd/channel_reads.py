"""How long one channel takes to read pages, some of them more than once."""

import numpy as np

from cost_models.hardware import FlashSpec


def page_times_s(flash: FlashSpec) -> tuple[float, float]:
    """Returns the seconds between pages, as far as the channel's wires and the planes behind it go."""
    sense_s = flash.t_read_s / (flash.dies_per_channel * flash.planes_per_die)
    return flash.page_bytes / flash.channel_bytes_per_s, sense_s


def steady_read_s(flash: FlashSpec, num_pages: int) -> float:
    """Returns the seconds from the first page's arrival in its plane's register to the last transfer.

    Planes sense one page each per ``t_read_s`` and take turns; the channel transfers one page at a time.

    Args:
        flash: Times and planes.
        num_pages: Pages, 1 at least.
    """
    transfer_s, sense_s = page_times_s(flash)
    # The last page leaves its plane no sooner than (num_pages - 1) senses, spread over the planes, after the first.
    return max(num_pages * transfer_s, (num_pages - 1) * sense_s + transfer_s)


def retried_read_s(flash: FlashSpec, num_pages: int, position: np.ndarray, retries: np.ndarray) -> float:
    """Returns the same where some pages are read more than once.

    A page that has to be read again is sensed as soon as it was transferred, while the channel goes on with pages of other
    planes.

    Args:
        flash: Times and planes.
        num_pages: Pages, 1 at least.
        position: Which of them, from 0 on, are read again, int64 ``[n]``.
        retries: How often, int64 ``[n]``, 1 at least.
    """
    seconds = steady_read_s(flash, num_pages + int(retries.sum()))
    transfer_s, sense_s = page_times_s(flash)
    if not retries.size:
        return seconds
    arrival_s = position * max(transfer_s, sense_s) + transfer_s
    turn = np.arange(retries.sum()) - np.repeat(np.cumsum(retries) - retries, retries)
    sensed_s = np.sort(np.repeat(arrival_s, retries) + turn * (flash.t_read_s + transfer_s) + flash.t_read_s)
    # Retries share the channel: once the m-th last of them has been sensed, m transfers are left.
    last_s = sensed_s + transfer_s * np.arange(len(sensed_s), 0, -1)
    return max(seconds, float(last_s.max()))
