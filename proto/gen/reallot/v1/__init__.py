"""The contract: generated code of reallot.v1."""
