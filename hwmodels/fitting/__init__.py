"""Constants of a device fitted to measured latencies, and how well its model agrees with outside figures."""
