"""The fit of kernels finds the values that made-up times were made with, and says what no processor explains."""

import dataclasses
from dataclasses import replace

import jax
import pytest

from cost_models import ComputeSpec, Work, compute_cost
from runtime.cli.calibration.kernel_chains import chains, num_chains
from runtime.cli.calibration.kernel_effort import KernelEffort
from runtime.cli.calibration.kernel_figures import (
    ChainSample,
    KernelFigures,
    measure_kernels,
    num_kernel_figures,
)
from runtime.cli.calibration.kernel_fit import fit_kernels
from runtime.cli.calibration.kernel_report import kernel_lines

MADE_UP = ComputeSpec(
    name="made up",
    kind="gpu",
    memory_bytes=1e11,
    memory_bytes_per_s=4e12,
    peak_flops={"float16": 8e14},
    launch_s=5e-6,
    memory_efficiency=0.9,
    compute_efficiency=0.6,
    kernel_s=2.5e-6,
    matvec_efficiency=0.55,
)
LITTLE = KernelEffort(
    rows=(1, 2),
    weights=((32, 64),),
    attentions=((2, 1, 2, 16, 8),),
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
    """Chains of the shapes that are measured, with the times of a processor, and one that reaches each peak."""
    some = KernelEffort(max_links=4, weights=((256, 256), (2048, 8192)), attentions=((8, 40, 1, 1024, 128),))
    found = [
        ChainSample(c.kind, c.label, c.dtype, c.num_links, work, compute_cost(work, spec, c.dtype).seconds)
        for c in chains(dataclasses.replace(some, dtypes=("float16",)))
        for work in (c.work,)
    ]
    read, computed = Work(bytes_read=4e12), Work(flops=8e14)
    peaks = [ChainSample("peak", "at the peak", "float16", 1, work, 1.0) for work in (read, computed)]
    return KernelFigures(spec.name, spec.launch_s, (*found, *peaks))


def test_made_up_values_are_found() -> None:
    figures = made_up(MADE_UP)
    fit = fit_kernels(replace(figures, samples=figures.samples[:-2]), MADE_UP.memory_bytes)
    assert fit.residual < 1e-3
    assert fit.spec.kernel_s == pytest.approx(MADE_UP.kernel_s, rel=1e-2)
    rate = fit.spec.memory_bytes_per_s
    assert rate == pytest.approx(0.9 * 4e12, rel=1e-2)
    assert fit.spec.memory_efficiency == pytest.approx(1.0)
    assert fit.spec.matvec_bytes_per_s == pytest.approx(0.55 * 4e12, rel=1e-2)
    assert fit.spec.peak_flops["float16"] == pytest.approx(0.6 * 8e14, rel=1e-2)
    assert fit.spec.compute_efficiency == pytest.approx(1.0)


def test_what_no_processor_explains_is_the_residual() -> None:
    figures = made_up(MADE_UP)
    odd = replace(figures.samples[0], seconds=100 * figures.samples[0].seconds)
    fit = fit_kernels(replace(figures, samples=(*figures.samples[:-2], odd)), 1e11)
    assert fit.residual > 0.2
    assert fit.error(odd) < -0.8


def test_shares_of_what_was_reached_are_at_most_one() -> None:
    spec = fit_kernels(made_up(MADE_UP), 1e11).spec
    assert spec.memory_bytes_per_s == pytest.approx(4e12)
    assert spec.peak_flops["float16"] == pytest.approx(8e14)
    assert max(spec.memory_efficiency, spec.compute_efficiency, spec.matvec_efficiency or 0.0) <= 1.0


def test_chains_are_measured_and_told_of_one_by_one() -> None:
    told: list[int] = []
    figures = measure_kernels(jax.devices("cpu")[0], "little", LITTLE, lambda: told.append(1))
    assert len(told) == num_kernel_figures(LITTLE) == 1 + num_chains(LITTLE)
    assert [s.kind for s in figures.samples] == ["reduction", "product", "product", "attention", "peak"]
    assert all(s.seconds > 0 and s.work.num_kernels >= s.num_links for s in figures.samples)
    lines = kernel_lines(figures, fit_kernels(figures, 1e9))
    assert "fit: kernel" in lines[1]
    assert any("float32 2 x 32 x 64 and back" in line for line in lines)
    assert kernel_lines(None, None) == []


def test_chains_take_arrays_in_turns_and_demand_what_all_links_read() -> None:
    chain = next(c for c in chains(KernelEffort()) if c.label == "4 x 2048 x 8192 and back")
    weights = 2 * 2048 * 8192 * 2
    assert chain.num_arrays * weights >= KernelEffort().spread_bytes
    assert chain.work.bytes_read == pytest.approx(chain.num_links * weights, rel=0.02)
    assert chain.work.matvec_bytes == 0
    alone = next(c for c in chains(KernelEffort()) if c.label == "1 x 2048 x 8192 and back")
    assert alone.work.matvec_bytes == pytest.approx(alone.num_links * weights)
