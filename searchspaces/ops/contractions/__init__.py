"""Sums of products: convolution, fully connected layers, products of tensors."""
