"""Convolutional networks whose features are weighted by attention: of channels, of places, or of pixels."""
