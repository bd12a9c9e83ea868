"""Ranges of tensors: histograms, and the formats made of them."""
