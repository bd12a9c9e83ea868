"""Numbers that are learned: the fake-quantized network is trained against the floating-point one."""
