"""Facts about restpg_jax/parallel/rules.py."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as Spec

from restpg_jax.models import decoder
from restpg_jax.parallel import rules

MESH = types.SimpleNamespace(shape={'data': 2, 'fsdp': 4})


@pytest.mark.parametrize(
  ('path', 'shape', 'expected'),
  [
    ("['embedding']", (64, 7), Spec('fsdp', None)),
    ("['head']", (64, 7), Spec('fsdp', None)),
    ("['layers']['attention']['q']", (3, 8, 5), Spec(None, 'fsdp', None)),
    ("['layers']['attention']['out']", (3, 5, 8), Spec(None, None, 'fsdp')),
    ("['layers']['feed_forward']['up']", (3, 8, 5), Spec(None, 'fsdp', None)),
    ("['layers']['feed_forward']['down']", (3, 5, 8), Spec(None, None, 'fsdp')),
    # Adapters are small; their two axes are not those of their projection.
    ("['layers']['attention']['q']['a']", (3, 8, 4), Spec()),
    (".optimizer[1].mu['layers']['attention']['out']['b']", (3, 4, 8), Spec()),
    ("['layers_2']['attention']['q']", (8, 5), Spec('fsdp', None)),
    ("['layers_2']['feed_forward']['down']", (5, 8), Spec(None, 'fsdp')),
    ("['final_norm']['scale']", (8,), Spec()),
    # Adam's moments carry their parameter's path and shape ..
    (".optimizer[1].mu['embedding']", (64, 7), Spec('fsdp', None)),
    # .. factored moments the path alone: they stay whole.
    (".optimizer[1].v_row['layers']['attention']['q']", (3, 8), Spec()),
    # 6 rows cannot be split in 4.
    ("['embedding']", (6, 8), Spec()),
    ('.step', (), Spec()),
  ],
)
def test_a_leaf_is_split_as_its_parameter_is(path, shape, expected):
  assert rules.spec(path, shape, MESH) == expected


def test_every_matrix_of_gemma_2b_is_split():
  gemma_2b = decoder.Size(
    layers=18,
    width=2048,
    hidden=16384,
    heads=8,
    kv_heads=1,
    head_size=256,
    vocabulary=256128,
  )
  shapes = jax.eval_shape(
    decoder.Decoder(gemma_2b).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )['params']
  mesh = types.SimpleNamespace(shape={'data': 1, 'fsdp': 64})
  whole = {
    jax.tree_util.keystr(path)
    for path, x in jax.tree_util.tree_leaves_with_path(shapes)
    if rules.spec(jax.tree_util.keystr(path), x.shape, mesh) == Spec()
  }
  assert whole == {
    "['final_norm']['scale']",
    "['layers']['attention_norm']['scale']",
    "['layers']['feed_forward_norm']['scale']",
  }
