"""Methods that work on the weights: how they are rounded, or what they are before."""
