"""Device files, one TOML each, and the JSON schema they follow."""
