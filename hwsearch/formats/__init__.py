"""File formats: who writes them, reads them and runs them; one folder a format."""
