"""Benchmarks: each prints JSON lines, with the floor it is compared with measured in the same run."""
