"""From an ``nn.Module`` to the canonical graph."""
