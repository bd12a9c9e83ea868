"""TorchScript programs: read as networks where nothing in them can reach out of the network."""
