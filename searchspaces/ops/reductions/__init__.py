"""Many values become one: means and extremes, normalization, softmax."""
