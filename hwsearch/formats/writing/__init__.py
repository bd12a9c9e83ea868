"""Writing a quantized network: the exporters, what a format holds, and what becomes wider for it."""
