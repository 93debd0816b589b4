"""Sub-commands of `reallot` that speak gRPC."""
