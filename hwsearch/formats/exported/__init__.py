"""Programs of torch.export (.pt2)."""
