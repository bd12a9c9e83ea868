"""C99 for microcontrollers: written, compiled, and run on an emulated board."""
