"""TFLite files as networks: every operator of a file by a function of its own, which enters itself in ``READS``."""
