"""Sub-commands of `reallot` that need the server: serve, migrate, demo."""
