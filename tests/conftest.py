"""Settings of all tests: reproducible property tests, and headless plots."""

import matplotlib
from hypothesis import settings

settings.register_profile("reproducible", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("reproducible")
matplotlib.use("Agg")
