"""What profilers write, one file a format: which steps a network took on a device, and how long."""
