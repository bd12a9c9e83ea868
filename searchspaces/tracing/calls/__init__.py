"""What calls of PyTorch become in the canonical graph, by what they do."""
