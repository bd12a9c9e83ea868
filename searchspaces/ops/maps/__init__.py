"""Functions of values at one place: activations, arithmetic between tensors, scales and shifts."""
