"""The version of the package: what files and results that it writes say of themselves."""

__version__ = "0.1.0"
