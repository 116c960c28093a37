"""Holds what benchmarks share. Scripts find it since it lies beside them."""
