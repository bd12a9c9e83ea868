"""One study measured by many processes."""
