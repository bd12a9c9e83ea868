"""What may be chosen: super-resolution networks, their traced graphs, and the bit-widths a device allows them."""
