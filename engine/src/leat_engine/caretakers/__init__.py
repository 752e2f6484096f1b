"""What puts right what a death, a lost message or a passed hour left behind.

Every runner has the caretakers; one at a time does their rounds, led by one advisory lock. Each round is a single call
that may run twice, or not at all, without harm. Tests call the rounds; only `Caretakers` knows the clock.
"""

from leat_engine.caretakers.rounds import CaretakerOptions, Caretakers

__all__ = ["CaretakerOptions", "Caretakers"]
