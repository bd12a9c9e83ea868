"""The design-space report: one self-contained HTML page, a pure function of a run's results."""
