"""How to choose bit-widths, and to prove the choice: search, integer inference, reports, exporters, command line."""

__version__ = "0.1.0"
