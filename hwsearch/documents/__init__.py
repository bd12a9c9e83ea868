"""What stands on disk or is said to people, as plain data: plans, results, progress, notations."""
