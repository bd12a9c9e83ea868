"""Operators: one a file, each a frozen dataclass that knows its shape rule, its execution, its ties, its window and its work."""
