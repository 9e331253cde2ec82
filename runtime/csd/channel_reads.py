"""How long one channel takes to read pages, some of them more than once."""

import numpy as np

from cost_models.hardware import FlashSpec

_NONE = np.zeros(0, np.int64)


def channel_read_s(
    flash: FlashSpec, num_pages: int, position: np.ndarray = _NONE, retries: np.ndarray = _NONE
) -> float:
    """Returns the seconds from the first page's arrival in its plane's register to the last transfer.

    Planes sense one page each per ``t_read_s`` and take turns; the channel transfers one page at a time. A page that has
    to be read again is sensed as soon as it was transferred, while the channel goes on with pages of other planes.

    Args:
        flash: Times and planes.
        num_pages: Pages, 1 at least.
        position: Which of them, from 0 on, are read again, int64 ``[n]``.
        retries: How often, int64 ``[n]``, 1 at least.
    """
    transfer_s = flash.page_bytes / flash.channel_bytes_per_s
    sense_s = flash.t_read_s / (flash.dies_per_channel * flash.planes_per_die)
    count = num_pages + int(retries.sum())
    # The last page leaves its plane no sooner than (count - 1) senses, spread over the planes, after the first.
    seconds = max(count * transfer_s, (count - 1) * sense_s + transfer_s)
    if not retries.size:
        return seconds
    arrival_s = position * max(transfer_s, sense_s) + transfer_s
    turn = np.arange(retries.sum()) - np.repeat(np.cumsum(retries) - retries, retries)
    sensed_s = np.sort(np.repeat(arrival_s, retries) + turn * (flash.t_read_s + transfer_s) + flash.t_read_s)
    # Retries share the channel: once the m-th last of them has been sensed, m transfers are left.
    last_s = sensed_s + transfer_s * np.arange(len(sensed_s), 0, -1)
    return max(seconds, float(last_s.max()))
