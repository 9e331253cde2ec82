"""The fit of kernels finds the values that made-up times were made with, and says what no processor explains."""

from dataclasses import replace

import jax
import pytest

from cost_models import ComputeSpec, Work, compute_cost
from runtime.cli.calibration import kernel_figures
from runtime.cli.calibration.kernel_chains import chains, num_chains
from runtime.cli.calibration.kernel_effort import KernelEffort, LayerShape
from runtime.cli.calibration.kernel_figures import (
    ChainSample,
    KernelFigures,
    measure_kernels,
    num_kernel_figures,
)
from runtime.cli.calibration.kernel_fit import FITTED, fit_kernels
from runtime.cli.calibration.kernel_report import kernel_lines
from runtime.cli.calibration.layer_chains import LayerChain, config_of, layer_chains
from tests.runtime.cli.calibration.processors import MADE_UP

PLAIN = LayerShape(2, 2, 8, 32, gated=False)
LITTLE = KernelEffort(
    layers=(PLAIN, LayerShape(4, 2, 8, 32, gated=True)),
    steps=((1, 16), (2, 16)),
    num_layers=1,
    reductions=((8, 64),),
    large=(32, 32, 32),
    dtypes=("float32",),
    spread_bytes=1e4,
    chain_bytes=3e4,
    chain_flops=1e6,
    max_links=2,
    budget_s=0.0,
)


def made_up(spec: ComputeSpec) -> KernelFigures:
    """Decode steps of the shapes that are measured, with the times of a processor, and one chain that reaches each peak."""
    found = [
        ChainSample("layers", c.label, "float16", 1, work, compute_cost(work, spec, "float16").seconds)
        for c in layer_chains(replace(KernelEffort(), num_layers=1))
        for work in (c.work,)
    ]
    read, computed = Work(bytes_read=4e12), Work(flops=8e14)
    peaks = [ChainSample("peak", "at the peak", "float16", 1, work, 1.0) for work in (read, computed)]
    return KernelFigures(spec.name, spec.launch_s, (*found, *peaks))


@pytest.fixture(scope="module")
def figures() -> KernelFigures:
    return made_up(MADE_UP)


def test_made_up_values_are_found(figures: KernelFigures) -> None:
    fit = fit_kernels(figures, MADE_UP.memory_bytes)
    assert fit.residual < 1e-3
    for field in FITTED:
        assert getattr(fit.spec, field) == pytest.approx(getattr(MADE_UP, field), rel=1e-2)
    assert replace(fit.spec, **{field: getattr(MADE_UP, field) for field in FITTED}) == MADE_UP


def test_what_no_processor_explains_is_the_residual(figures: KernelFigures) -> None:
    odd = replace(figures.samples[0], seconds=100 * figures.samples[0].seconds)
    fit = fit_kernels(replace(figures, samples=(*figures.samples, odd)), 1e11)
    assert fit.residual > 0.2
    assert fit.error(odd) < -0.8


def test_chains_unlike_a_decode_step_set_peaks_and_nothing_else(figures: KernelFigures) -> None:
    slow = ChainSample("reduction", "slow", "float16", 1, Work(bytes_read=1e6, num_kernels=1), 1.0)
    fit = fit_kernels(replace(figures, samples=(*figures.samples, slow)), 1e11)
    assert fit == fit_kernels(figures, 1e11)


def test_chains_are_measured_and_told_of_one_by_one() -> None:
    told: list[int] = []
    figures = measure_kernels(jax.devices("cpu")[0], "little", LITTLE, lambda: told.append(1))
    assert len(told) == num_kernel_figures(LITTLE) == 1 + num_chains(LITTLE) + 4
    assert [s.kind for s in figures.samples] == ["reduction", "peak", *4 * ["layers"]]
    assert all(s.seconds > 0 and s.work.num_kernels >= s.num_links for s in figures.samples)
    lines = kernel_lines(figures, fit_kernels(figures, 1e9))
    assert "fit: kernel" in lines[1]
    assert any("float32 2 x 16 tokens, 1 layers of 2 (2 KV) heads of 8, 32 plain" in line for line in lines)
    assert kernel_lines(None, None) == []


def test_decode_steps_without_room_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = sorted(chain.num_bytes for chain in layer_chains(LITTLE))
    monkeypatch.setattr(kernel_figures, "memory_bytes", lambda device: float(sizes[1]))
    figures = measure_kernels(jax.devices("cpu")[0], "little", LITTLE, lambda: None)
    assert (
        sum(s.kind == "layers" for s in figures.samples)
        == sum(size <= sizes[1] for size in sizes)
        < len(sizes)
    )


def test_chains_take_arrays_in_turns_and_demand_what_all_links_read() -> None:
    chain = next(c for c in chains(KernelEffort()) if c.label == "2048 x 8192 by row")
    size = 2048 * 8192 * 2
    assert chain.num_arrays * size >= KernelEffort().spread_bytes
    assert chain.work.bytes_read == pytest.approx(chain.num_links * size, rel=0.02)


def test_a_decode_step_reads_parameters_and_cache_once_and_continues_from_itself() -> None:
    chain = LayerChain(config_of(PLAIN, 16, LITTLE), 2, 16)
    cached = 2 * 2 * 16 * 2 * 8 * 4
    assert chain.work.batched_matvec_bytes == cached
    one_row = replace(chain, rows=1).work
    assert one_row.num_matvecs == 7  # q, k, v, output, two of the feed-forward layer, logits
    assert jax.eval_shape(chain.step, chain.weights, chain.carried) == chain.carried
