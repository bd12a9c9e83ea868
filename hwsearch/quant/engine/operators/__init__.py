"""Operators beyond the convolution in integers, as pure functions of codes: each equal to a runtime, code for code."""
