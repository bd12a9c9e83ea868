"""Inner loops: sums of products by the vector instructions of the CPU."""
