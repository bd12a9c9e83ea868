"""Methods whose bounds are trained against the floating-point network; no label is used."""
