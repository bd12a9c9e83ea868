"""What the integers of a runtime cannot hold."""

from __future__ import annotations


class RuntimeLimit(ValueError):
    """A kernel of a runtime has no defined result for these tensors: a sum or a multiplier beyond its bits, a divisor of zero."""
