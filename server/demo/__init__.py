"""The demonstration: a real server process, driven only through the public API."""
