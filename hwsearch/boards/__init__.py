"""Fitting a device's constants: timings from a file or from this machine, and the device file that they make."""
