"""Numbers of pages and blocks."""

from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from runtime.kernels import addresses


@njit
def quotient(number: int, divisor: int) -> int:
    return addresses.quotient(number, divisor)


@given(whole=st.integers(0, 2**48 - 1), divisor=st.integers(1, 2**40), off=st.integers(-1, 1))
def test_a_quotient_is_exact_on_both_sides_of_a_multiple(whole: int, divisor: int, off: int) -> None:
    number = max(0, whole // divisor * divisor + off)
    assert quotient(number, divisor) == number // divisor
