"""Shapes of models that benchmarks fill with random weights."""

from restpg_jax.models import decoder

# Large enough that arithmetic counts, and a caller's Python hardly.
SIZE_100M = decoder.Size(
  layers=12,
  width=768,
  hidden=2560,
  heads=12,
  kv_heads=4,
  head_size=64,
  vocabulary=32_000,
)
