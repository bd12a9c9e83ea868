"""The design-space report: one self-contained HTML page."""
