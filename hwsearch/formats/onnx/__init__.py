"""ONNX: written for several runtimes, read back, and run."""
