"""``instinfer reproduce``: the published evaluation of InstInfer (arXiv 2409.04992), predicted."""
