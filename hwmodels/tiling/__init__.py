"""A picture that is cut: how people write it, which pixels a tile needs, and what it costs."""
