"""What several benchmarks share. Scripts find it since it lies beside them."""
