"""Runtimes that execute a plan's integers."""
