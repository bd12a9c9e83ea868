"""TFLite: written, read back, and run by LiteRT and TensorFlow Lite Micro."""
