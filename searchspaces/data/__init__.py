"""Pictures: reading them, splitting them into roles, shrinking them by the literature's protocol."""
