"""KV cache offload as users write it by themselves, in plain JAX and numpy: measured baselines for plans."""
