"""What calibration sees of a network: gains of noise, moments, ranges."""
