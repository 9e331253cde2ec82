"""The printed form of measured chains of kernels: what was fitted, and how well it meets each chain."""

from __future__ import annotations

from runtime.bench_table import align
from runtime.cli.calibration.kernel_figures import KernelFigures
from runtime.cli.calibration.kernel_fit import KernelFit


def kernel_lines(figures: KernelFigures | None, fit: KernelFit | None) -> list[str]:
    """Returns the fitted processor and a line per chain, then an empty one; nothing where nothing was measured."""
    if figures is None or fit is None:
        return []
    spec = fit.spec
    attention = spec.attention_bytes_per_s / spec.memory_bytes_per_s
    peaks = ", ".join(f"{dtype} {flops / 1e12:.3g} TFLOP/s" for dtype, flops in spec.peak_flops.items())
    rows = [
        (
            sample.kind,
            f"{sample.dtype} {sample.label}",
            f"{1e6 * sample.seconds / sample.num_links:.2f}",
            f"{sample.work.num_bytes / sample.seconds / 1e9:.0f}",
            f"{1e6 * fit.seconds(sample) / sample.num_links:.2f}",
            f"{fit.error(sample):+.0%}",
        )
        for sample in figures.samples
    ]
    return [
        f"{figures.name}: {peaks}, memory {spec.memory_bytes_per_s / 1e12:.3g} TB/s, "
        f"an executable {1e6 * spec.launch_s:.1f} us",
        f"fit: kernel {1e6 * spec.kernel_s:.2f} us, product with one vector {1e6 * spec.matvec_s:.2f} us more, "
        f"memory_efficiency {spec.memory_efficiency:.3f}, attention_efficiency {attention:.3f}; "
        f"residual {fit.residual:.1%} (root mean square, decode steps)",
        *align([("chain", "one link", "measured us", "GB/s", "fitted us", "error"), *rows]),
        "",
    ]
