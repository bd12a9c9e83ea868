"""A documented array, Arm's Ethos-U: how an operation is cut, scheduled and paid for."""
