"""Work of jaxpr equations: FLOP per primitive, and bytes under fusion.

Equations are duck-typed (see `cost_models.jaxpr_protocol`), so that costing needs no JAX. They must be flat:
call-like primitives are inlined first.
"""

from cost_models.equation_flops import equation_flops, unknown_primitives
from cost_models.fusion import work_of

__all__ = ["equation_flops", "unknown_primitives", "work_of"]
