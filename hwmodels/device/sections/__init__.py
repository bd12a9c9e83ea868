"""What a device file says of its class of hardware: one file a class, found by its name."""
