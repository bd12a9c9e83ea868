"""What TFLite files are written with: the flatbuffer, the form of a network in it, its order of channels, tensors, constants."""
