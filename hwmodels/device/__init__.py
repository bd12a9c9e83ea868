"""What a device file says: reading, checking, showing and editing it."""
