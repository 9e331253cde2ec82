"""What is known of each JAX primitive: its class, and its FLOP per output element.

Classes decide how data moves (see `cost_models.fusion`):

- ``VIEW``: another look at the same data, free and fused into whatever reads it;
- ``ELEMENTWISE``: one result per output element, fused with its neighbours;
- ``SLICE``: reads only the elements it returns, fused with its neighbours;
- ``REDUCTION``: fused with what it reads;
- ``IN_PLACE``: writes only the update into a buffer that is kept;
- ``STANDALONE``: reads its operands from memory and writes its results to it;
- ``GATHER``: as ``STANDALONE``, but reads only the rows it returns.

Weights of transcendental functions are in slots of a floating-point add. The special-function unit of a GPU
of NVIDIA's compute capability 8.6 gives 16 results per clock and multiprocessor where adds give 128 (CUDA C++
Programming Guide, table of arithmetic throughput), so one special function takes 8 slots; functions that
need more than one are sums of their parts, said at each.
"""

from typing import Literal

PrimitiveClass = Literal["VIEW", "ELEMENTWISE", "SLICE", "REDUCTION", "IN_PLACE", "STANDALONE", "GATHER"]

SPECIAL_FUNCTION_FLOPS = 8.0
"""Slots of one special function (exp2, log2, rsqrt, reciprocal, sine, cosine, tanh); source above."""

_SF = SPECIAL_FUNCTION_FLOPS


def _names(text: str) -> frozenset[str]:
    """Returns the names in a text, separated by white space."""
    return frozenset(text.split())


VIEWS = _names(
    """
    reshape broadcast_in_dim broadcast squeeze expand_dims transpose convert_element_type
    bitcast_convert_type copy copy_p stop_gradient optimization_barrier sharding_constraint
    mesh_cast pvary pcast reduce_precision random_wrap random_unwrap real imag layout_constraint
    device_put
    """
)
"""Free primitives. Dtype conversion, transposition and broadcasts cost nothing where the reader does them."""

SAME_BYTES_VIEWS = _names(
    """
    reshape squeeze expand_dims bitcast_convert_type copy copy_p stop_gradient optimization_barrier
    sharding_constraint mesh_cast pvary pcast random_wrap random_unwrap layout_constraint device_put
    """
)
"""Views whose result is the very same bytes, so that one buffer serves for both."""

SLICES = frozenset({"slice", "dynamic_slice"})

GATHERS = frozenset({"gather"})

IN_PLACE_UPDATE_OPERAND = {
    "dynamic_update_slice": 1,
    "scatter": 2,
    "scatter-add": 2,
    "scatter_add": 2,
    "scatter-sub": 2,
    "scatter_sub": 2,
    "scatter-mul": 2,
    "scatter_mul": 2,
    "scatter-min": 2,
    "scatter_min": 2,
    "scatter-max": 2,
    "scatter_max": 2,
}
"""Primitives that update a part of their first operand, with the index of the operand holding the update."""

COMBINING_UPDATES = frozenset(IN_PLACE_UPDATE_OPERAND) - {"dynamic_update_slice", "scatter"}
"""Updates that combine with the old value: one FLOP per updated element, and the old elements are read."""

REDUCTIONS = _names(
    """
    reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor argmax argmin
    reduce
    """
)

SCANS = _names("cumsum cumprod cummax cummin cumlogsumexp")

WINDOW_REDUCTIONS = _names(
    """
    reduce_window reduce_window_sum reduce_window_max reduce_window_min
    """
)

CONTRACTIONS = frozenset({"dot_general", "conv_general_dilated"})

SORTS = frozenset({"sort", "top_k", "approx_top_k"})

RANDOM_BITS = _names(
    """
    random_bits threefry2x32 random_fold_in random_split random_seed rng_bit_generator
    """
)

THREEFRY_FLOPS_PER_WORD = 50.0
"""Threefry-2x32: 20 rounds of add, rotate (3 operations) and xor give two words (Salmon et al., SC 2011)."""

_MOVING = _names("iota concatenate pad rev split empty zeros_like full create_token")
"""Primitives without FLOP whose elements come from other places, or from nowhere."""

FLOPS_PER_ELEMENT: dict[str, float] = {
    **dict.fromkeys(_names("add sub mul neg abs max min sign floor ceil round add_any square clamp"), 1.0),
    **dict.fromkeys(_names("and or xor not shift_left shift_right_logical shift_right_arithmetic"), 1.0),
    **dict.fromkeys(
        _names("eq ne lt le gt ge select_n select is_finite nextafter population_count clz"), 1.0
    ),
    **dict.fromkeys(_MOVING, 0.0),
    **dict.fromkeys(_names("rsqrt tanh sin cos exp2"), _SF),
    **dict.fromkeys(_names("exp log expm1 log1p"), _SF + 1.0),  # a scaling to or from base 2
    "sqrt": _SF + 1.0,  # rsqrt and a product
    "cbrt": 2 * _SF + 1.0,  # exp2 of a third of log2
    "div": _SF + 1.0,  # reciprocal and a product
    "rem": _SF + 4.0,  # quotient, truncation, product, difference
    "logistic": 2 * _SF + 2.0,  # exp, sum, reciprocal
    "pow": 2 * _SF + 1.0,  # exp2 of y log2(x)
    **dict.fromkeys(_names("tan"), 3 * _SF + 1.0),  # sine, cosine, reciprocal, product
    **dict.fromkeys(_names("sinh cosh"), 2 * _SF + 4.0),  # exp, reciprocal, sum, product
    **dict.fromkeys(
        _names("asin acos atan atan2 asinh acosh atanh"), 2 * _SF + 10.0
    ),  # root or quotient, series
    **dict.fromkeys(
        _names("erf erfc erf_inv"), _SF + 20.0
    ),  # a rational function: 10 multiply-adds, quotient
}
"""FLOP per output element of element-wise primitives."""

UNKNOWN_FLOPS_PER_ELEMENT = 1.0
"""What a primitive that is not in the tables is charged, like an element-wise one; reported as unknown."""

CALLS = _names(
    """
    pjit jit closed_call core_call call xla_call remat remat2 checkpoint custom_jvp_call
    custom_vjp_call custom_vjp_call_jaxpr custom_lin scan while cond shard_map xla_pmap run_state
    custom_partitioning
    """
)
"""Call-like primitives: their work is in their inner jaxprs."""


def primitive_class(name: str) -> PrimitiveClass:
    """Returns the class of a primitive; an unknown one is element-wise."""
    table: tuple[tuple[frozenset[str], PrimitiveClass], ...] = (
        (VIEWS, "VIEW"),
        (SLICES, "SLICE"),
        (GATHERS, "GATHER"),
        (REDUCTIONS, "REDUCTION"),
        (frozenset(IN_PLACE_UPDATE_OPERAND), "IN_PLACE"),
        (CONTRACTIONS | SORTS | SCANS | WINDOW_REDUCTIONS, "STANDALONE"),
    )
    for names, primitive in table:
        if name in names:
            return primitive
    return "ELEMENTWISE"


def is_known(name: str) -> bool:
    """Tells whether a primitive is in the tables."""
    return (
        name in FLOPS_PER_ELEMENT
        or name in RANDOM_BITS
        or name == "integer_pow"
        or name in CALLS
        or primitive_class(name) != "ELEMENTWISE"
    )


def is_elementwise(name: str) -> bool:
    """Tells whether a primitive makes every element of its result of the elements at the same place; unknown ones do not."""
    return name == "integer_pow" or (name in FLOPS_PER_ELEMENT and name not in _MOVING)
