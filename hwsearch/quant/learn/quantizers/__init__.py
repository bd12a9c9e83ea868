"""What is trained of one tensor and of one layer: a quantizer and its gradients, one kind a file."""
