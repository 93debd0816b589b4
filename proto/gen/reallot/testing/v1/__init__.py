"""The manual clock: generated code of reallot.testing.v1."""
