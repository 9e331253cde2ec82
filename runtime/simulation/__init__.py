"""Simulates whole generations without values: the virtual executor over drives that keep no bytes.

Bottom up: ``lane_pages`` (which channels pages lie on), ``drawn_pages`` (which ones sparse attention wants), ``command_counts``
(what a drive reads and programs), ``counted_drive``, ``use_log``, ``counted_system``, ``step_times`` (the steps of a phase),
``windows`` (some consecutive decode steps), ``context_sums`` (all of them), ``prefill_slices``, ``simulate``.

Times come from the mechanism of :mod:`runtime` and :mod:`runtime.csd`; predictions share its parameters and none of its code.
"""
