"""A network as others want it: another order of colours, another range of values, fewer blocks."""
