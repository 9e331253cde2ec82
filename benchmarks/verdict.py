"""How a benchmark says whether its bars are met."""

from collections.abc import Sequence


def print_verdict(bars: str, missed: Sequence[str], *, check: bool) -> int:
    """Prints the bars and whether they are met.

    Args:
        bars: What is asked, a sentence without its full stop.
        missed: A sentence for each bar that is missed.
        check: Whether a missed bar makes the benchmark fail.

    Returns:
        The exit status, 0 or 1.
    """
    print(f"\nBars: {bars}: {'missed' if missed else 'met'}")
    print("".join(f"- {sentence}\n" for sentence in missed), end="")
    return int(check and bool(missed))
