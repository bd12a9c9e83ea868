"""Running a quantized network: the runtimes, and pictures larger than they take."""
