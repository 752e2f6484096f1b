"""What to say of a name that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches

_COMPARED = 200


def unknown(noun: str, found: str, known: Iterable[str]) -> str:
    """``there is no step 'chrage'; did you mean 'charge'?``, or what there is when nothing is close."""
    known = sorted(known)
    alike = [name for name in known if abs(len(name) - len(found)) <= 3][:_COMPARED]
    if close := get_close_matches(found, alike, n=1, cutoff=0.6):
        return f"there is no {noun} {found!r}; did you mean {close[0]!r}?"
    there = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"there is no {noun} {found!r}" + (f"; there is {there}" if there else "")
