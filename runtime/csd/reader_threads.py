"""The threads that read pages ahead of those that attend to them."""

import functools
from concurrent.futures import ThreadPoolExecutor

from runtime.core_threads import num_cores


@functools.cache
def reader_threads() -> ThreadPoolExecutor:
    """Returns one thread for each core that attends; made on first use, shared by all drives."""
    return ThreadPoolExecutor(max_workers=num_cores(), thread_name_prefix="reader")
