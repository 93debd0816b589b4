"""Conditions to segment and rule: CEL checked against a schema and evaluated over columns."""
