"""The gRPC services: thin, one module each."""
