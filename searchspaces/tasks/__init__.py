"""What quality means, and how it is measured."""
