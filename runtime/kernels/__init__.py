"""The compiled kernels: attention where K and V lie, read once, widened on the way, softmax on line.

Entry points, one a file: ``attend_memory`` (host memory), ``attend_pages`` (the pages of a drive), ``attend_sparse`` (likewise,
by SparF, in ``step_one`` and ``step_two``). What they share: ``elements``, ``addresses``, ``prefetch``, ``exponential``,
``softmax``, ``selection``, ``sparse_scores`` and ``sparse_request``. An entry point is called once and uses all cores: a
``thread_team`` takes the parts that ``split_pairs`` makes, by ``packed_call`` and ``pthreads``, without the interpreter.
``count_tokens`` says where the tokens of an attention lie. ``compiling`` says how all of it is compiled and when again.
Arguments always have the same types (``inputs``), so there is one compiled variant of each.
"""
