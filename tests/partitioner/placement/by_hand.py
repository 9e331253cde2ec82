"""A placement problem that can be worked out by hand: two layers of two ops on two tiers."""

from __future__ import annotations

from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.variant_list import Variant

GPU, HOST = 0, 1
MOVES = ((0.0, 0.5), (0.25, 0.0))
HEAVY = Choice("heavy", (Variant((GPU,), (1.0,), (4.0, 0.0)), Variant((HOST,), (3.0,), (0.0, 4.0))))
BUSY = Choice(
    "busy", (Variant((GPU,), (1.0,), (0.0, 0.0), ((0, 5.0),)), Variant((HOST,), (2.0,), (0.0, 0.0)))
)
LAYER = Block(
    "layer",
    (HEAVY, BUSY),
    (
        Flow(phase=0, producer=None, source=0, consumers=(0,), leaves=None, move_s=MOVES),
        Flow(phase=0, producer=0, source=None, consumers=(1,), leaves=None, move_s=MOVES),
        Flow(phase=0, producer=1, source=None, consumers=(), leaves=0, move_s=MOVES),
    ),
    entries=(0,),
    exits=(0,),
)
TWO_LAYERS = Problem(("gpu", "host"), (4.0, 4.0), ("decode",), (("link", 0),), (Stage(LAYER, 2),))
