"""What is inside the opaque tokens: generated code of reallot.internal.v1."""
