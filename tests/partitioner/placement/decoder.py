"""A placement problem with the numbers of a 13-billion-parameter decoder on one GPU, a host and a storage drive."""

from __future__ import annotations

from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.variant_list import Variant

BATCH, PROMPT, STEPS, HIDDEN, VOCABULARY = 64, 1024, 1024, 5120, 50272
GPU, HOST, CSD = 0, 1, 2
FLOPS_PER_S = (150e12, 2e12, 0.1e12)
MEMORY_BYTES_PER_S = (768e9, 100e9, 11.2e9)
LINK_BYTES_PER_S = {(HOST, GPU): 16e9, (CSD, GPU): 3.2e9, (CSD, HOST): 3.5e9, (GPU, HOST): 16e9}
LAUNCH_S = (10e-6, 5e-6, 20e-6)
STREAMS = tuple(LINK_BYTES_PER_S)
KV_BYTES = BATCH * (PROMPT + STEPS) * 2 * HIDDEN * 2
LAYER = ("norm1", "query", "key", "value", "attention", "out", "norm2", "up", "down")
CAPACITIES = (48e9, 96e9, 2e12)


def decoder_problem(
    num_layers: int, capacities: tuple[float, ...] = CAPACITIES, rich: bool = False
) -> Problem:
    """Returns the problem; with ``rich`` every weight op may run on another device in each phase, from any home."""
    return Problem(
        tiers=("gpu", "host", "csd"),
        capacities=capacities,
        phases=("prefill", "decode"),
        resources=tuple((f"{src}to{dst}", phase) for phase in (0, 1) for src, dst in STREAMS),
        stages=(Stage(_embed(), 1), Stage(_layer(rich), num_layers), Stage(_head(rich), 1)),
    )


def _stream(src: int, dst: int, num_bytes: float, phase: int) -> tuple[tuple[int, float], ...]:
    if src == dst or (src, dst) not in LINK_BYTES_PER_S:
        return ()
    times = STEPS if phase else 1
    resource = STREAMS.index((src, dst)) + phase * len(STREAMS)
    return ((resource, times * num_bytes / LINK_BYTES_PER_S[src, dst]),)


def _weight_variants(num_bytes: float, rich: bool) -> tuple[Variant, ...]:
    ways = [(GPU, GPU), (GPU, HOST), (HOST, HOST)] + ([(HOST, GPU)] if rich else [])
    variants = []
    for prefill, decode in ways:
        for home in (GPU, HOST, CSD):
            if (home, prefill) == (GPU, HOST):
                continue
            seconds = (
                BATCH * PROMPT * num_bytes / FLOPS_PER_S[prefill] + LAUNCH_S[prefill],
                STEPS * (num_bytes / MEMORY_BYTES_PER_S[decode] + LAUNCH_S[decode]),
            )
            memory = [0.0, 0.0, 0.0]
            memory[home] = num_bytes
            busy = (*_stream(home, prefill, num_bytes, 0), *_stream(home, decode, num_bytes, 1))
            variants.append(Variant((prefill, decode), seconds, tuple(memory), busy, (str(home),)))
    return tuple(variants)


def _norm_variants() -> tuple[Variant, ...]:
    size = 2 * HIDDEN * BATCH * 2
    return tuple(
        Variant(
            (prefill, decode),
            (
                PROMPT * size / MEMORY_BYTES_PER_S[prefill] + LAUNCH_S[prefill],
                STEPS * (size / MEMORY_BYTES_PER_S[decode] + LAUNCH_S[decode]),
            ),
            (0.0, 0.0, 0.0),
        )
        for prefill, decode in ((GPU, GPU), (GPU, HOST), (HOST, HOST))
    )


def _attention_variants() -> tuple[Variant, ...]:
    read = KV_BYTES * (PROMPT + STEPS / 2) / (PROMPT + STEPS)
    variants = []
    for prefill, decode, home in (
        (GPU, GPU, GPU),
        (GPU, GPU, HOST),
        (GPU, HOST, HOST),
        (HOST, HOST, HOST),
        (GPU, GPU, CSD),
        (GPU, HOST, CSD),
        (GPU, CSD, CSD),
    ):
        memory = [0.0, 0.0, 0.0]
        memory[home] = KV_BYTES
        seconds = (
            4 * BATCH * PROMPT**2 * HIDDEN / FLOPS_PER_S[prefill],
            STEPS * (read / MEMORY_BYTES_PER_S[decode] + LAUNCH_S[decode]),
        )
        variants.append(Variant((prefill, decode), seconds, tuple(memory), _stream(home, decode, read, 1)))
    return tuple(variants)


def _moves(phase: int, width: int = HIDDEN) -> tuple[tuple[float, ...], ...]:
    times, size = (STEPS, BATCH * width * 2) if phase else (1, BATCH * PROMPT * width * 2)
    slow = {frozenset((GPU, HOST)): 16e9, frozenset((GPU, CSD)): 3.2e9, frozenset((HOST, CSD)): 3.5e9}
    return tuple(
        tuple(0.0 if a == b else times * (size / slow[frozenset((a, b))] + 15e-6) for b in range(3))
        for a in range(3)
    )


def _flows(wires: list[tuple[int | None, tuple[int, ...], bool]]) -> tuple[Flow, ...]:
    return tuple(
        Flow(
            phase,
            producer,
            phase if producer is None else None,
            consumers,
            phase if leaves else None,
            _moves(phase),
        )
        for phase in (0, 1)
        for producer, consumers, leaves in wires
    )


def _layer(rich: bool) -> Block:
    square = _weight_variants(HIDDEN * HIDDEN * 2, rich)
    wide = _weight_variants(4 * HIDDEN * HIDDEN * 2, rich)
    norm, attention = _norm_variants(), _attention_variants()
    variants = (norm, square, square, square, attention, square, norm, wide, wide)
    index = {name: number for number, name in enumerate(LAYER)}
    wires = [
        (None, (index["norm1"], index["out"]), False),
        (index["norm1"], (index["query"], index["key"], index["value"]), False),
        (index["query"], (index["attention"],), False),
        (index["key"], (index["attention"],), False),
        (index["value"], (index["attention"],), False),
        (index["attention"], (index["out"],), False),
        (index["out"], (index["norm2"], index["down"]), False),
        (index["norm2"], (index["up"],), False),
        (index["up"], (index["down"],), False),
        (index["down"], (), True),
    ]
    choices = tuple(Choice(name, ways) for name, ways in zip(LAYER, variants, strict=True))
    return Block("layer", choices, _flows(wires), (0, 1), (0, 1))


def _embed() -> Block:
    choices = (Choice("embed", _weight_variants(VOCABULARY * HIDDEN * 2, False)),)
    return Block("embed", choices, _flows([(None, (0,), False), (0, (), True)]), (0, 1), (0, 1))


def _head(rich: bool) -> Block:
    choices = (
        Choice("norm", _norm_variants()),
        Choice("head", _weight_variants(VOCABULARY * HIDDEN * 2, rich)),
    )
    return Block("head", choices, _flows([(None, (0,), False), (0, (1,), False)]), (0, 1), ())
