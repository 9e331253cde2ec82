"""A simulation takes the same time as a session that computes every value on the virtual clock.

Both go through the same links, processors and flash channels; only what a drive reads is counted from lengths here and found in
mapping tables there.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from partitioner import Plan, SparF, Workload, partition
from runtime import GenerationResult, Session, SimulatedRun, simulate
from tests.runtime.ruled_decoder import HEADS, Rule, ruled_decoder
from tests.runtime.ruled_decoder import VOCAB as RULED_VOCAB
from tests.runtime.split_plans import split_plan
from tests.runtime.tiny_models import VOCAB, demo_hardware, transformer

CASES = (
    "gpu-only",
    "deepspeed-host",
    "flexgen-ssd",
    "recompute",
    "instinfer",
    "auto",
    "sparse",
    "window",
    "host",
)
WORKLOAD = Workload(6, 75, 40)


@cache
def held(case: str) -> tuple[Plan, GenerationResult, SimulatedRun]:
    """Runs a model of two layers on two drives with pages of 8 tokens, past the ends of pages and of channel pages.

    In ``host``, the host attends to both layers, of which one has a window.
    """
    hw = demo_hardware(2).replace("drive.flash.page_bytes", 256)
    workload = replace(WORKLOAD, sparsity=SparF.ratio(8) if case == "sparse" else None)
    ruled = case in ("window", "host")
    model = ruled_decoder((Rule(window=21), Rule())) if ruled else transformer(position="learned")
    plan = partition(model, hw, workload, "instinfer" if ruled or case == "sparse" else case)
    if case == "host":
        plan = split_plan(plan, [[("host", (0, workload.batch_size), (0, HEADS))]] * 2)
    vocabulary = min(VOCAB, RULED_VOCAB)
    prompts = np.random.default_rng(0).integers(0, vocabulary, (6, WORKLOAD.prompt_len)).tolist()
    with Session(plan, model, clock="virtual") as session:
        ran = session.generate(prompts, max_new_tokens=WORKLOAD.decode_len)
    return plan, ran, simulate(plan, every_step=True)


@pytest.mark.parametrize("case", CASES)
def test_times_are_those_of_a_session(case: str) -> None:
    _, ran, simulated = held(case)
    tolerance = 0.08 if case == "sparse" else 1e-9
    assert simulated.prefill_s == pytest.approx(ran.prefill_s, rel=1e-9)
    assert simulated.decode_s == pytest.approx(ran.decode_s, rel=tolerance)


@pytest.mark.parametrize("case", CASES)
def test_resources_are_in_use_as_in_a_session(case: str) -> None:
    _, ran, simulated = held(case)
    tolerance = 0.08 if case == "sparse" else 1e-9
    assert simulated.busy_s == pytest.approx(ran.timeline.busy_s(), rel=tolerance)
    crossed, found = simulated.num_bytes, ran.timeline.moved_bytes()
    if case == "sparse":  # tokens that random weights choose lie in no clusters, so drives read other pages
        crossed, found = ({r: n for r, n in b.items() if "." in r} for b in (crossed, found))
    assert crossed == pytest.approx(found, rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_a_sample_of_steps_stands_for_all(case: str) -> None:
    plan, _, every = held(case)
    sampled = simulate(plan)
    assert (
        case == "sparse" or sampled.num_steps < every.num_steps
    )  # channel pages of 8 tokens: all steps are at seams
    assert sampled.total_s == pytest.approx(every.total_s, rel=5e-3 if case in ("sparse", "window") else 1e-3)


def test_a_sparse_attention_within_the_first_page_reads_no_page() -> None:
    hw = demo_hardware().replace("drive.flash.page_bytes", 4096)
    model = transformer(position="learned")
    plan = partition(model, hw, Workload(2, 20, 6, SparF.ratio(4)), "instinfer")
    run = simulate(plan)
    assert run.num_bytes["csd0"] == 0.0
    assert run.decode_s > 0.0
