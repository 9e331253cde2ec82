"""The compiled kernels: attention where K and V lie, widened tile by tile, softmax on line.

Entry points, one a file: ``attend_memory`` (host memory), ``attend_pages`` (the pages of a drive). What they share:
``elements``, ``prefetch``, ``page_address`` and ``softmax``; ``compiling`` says how they are compiled and when again.
Arguments always have the same types, so there is one compiled variant of each.
"""
