"""What a plan costs: devices, workloads and the cost models that price them. Never imports torch or optuna."""
