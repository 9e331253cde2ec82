"""Settings of all tests: reproducible property tests, headless plots, and whole float32 products on accelerators."""

import jax
import matplotlib
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("reproducible")
matplotlib.use("Agg")
if jax.default_backend() != "cpu":
    jax.config.update("jax_default_matmul_precision", "highest")
