"""The command line: parse, call, print, exit code; one module for each family of commands."""

from hwsearch.cli.app import app, main

__all__ = ["app", "main"]
