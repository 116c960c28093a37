"""Facts about restpg_jax/parallel/rules.py."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as Spec

from restpg_jax import errors
from restpg_jax.models import catalog, decoder
from restpg_jax.parallel import mesh as meshes
from restpg_jax.parallel import rules

MESH = types.SimpleNamespace(shape={'data': 2, 'fsdp': 4, 'model': 2})
# data, fsdp, sequence, model: v4:4x4x4, v4:2x4x4 and a host.
MESHES = [
  *((4, 16, 1, 1), (1, 64, 1, 1), (4, 1, 16, 1), (4, 2, 4, 2)),
  *((8, 4, 1, 2), (1, 8, 1, 4)),
]


@pytest.mark.parametrize(
  ('path', 'shape', 'expected'),
  [
    ("['embedding']", (16, 7), Spec(('fsdp', 'model'), None)),
    ("['head']", (16, 7), Spec(('fsdp', 'model'), None)),
    ("['layers']['attention']['q']", (3, 8, 6), Spec(None, 'fsdp', 'model')),
    ("['layers']['attention']['k']", (3, 8, 6), Spec(None, 'fsdp', None)),
    ("['layers']['attention']['out']", (3, 6, 8), Spec(None, 'model', 'fsdp')),
    (
      "['layers']['feed_forward']['up']",
      (3, 8, 6),
      Spec(None, 'fsdp', 'model'),
    ),
    (
      "['layers']['feed_forward']['down']",
      (3, 6, 8),
      Spec(None, 'model', 'fsdp'),
    ),
    # Adapters are small; their two axes are not those of their projection.
    ("['layers']['attention']['q']['a']", (3, 8, 4), Spec(None, None, None)),
    (
      ".optimizer[1].mu['layers']['attention']['out']['b']",
      (3, 4, 8),
      Spec(None, None, None),
    ),
    (
      "['layers']['block_5']['attention']['q']",
      (3, 8, 6),
      Spec(None, 'fsdp', 'model'),
    ),
    ("['layers']['block_5']['layer_scalar']", (3, 1), Spec(None, None)),
    ("['layers_2']['attention']['q']", (8, 6), Spec('fsdp', 'model')),
    ("['layers_2']['feed_forward']['down']", (6, 8), Spec('model', 'fsdp')),
    ("['final_norm']['scale']", (8,), Spec(None)),
    # Adam's moments carry their parameter's path and shape ..
    (".optimizer[1].mu['embedding']", (16, 7), Spec(('fsdp', 'model'), None)),
    # .. factored moments the path alone: they stay whole.
    (".optimizer[1].v_row['layers']['attention']['q']", (3, 8), Spec()),
    # 4 rows cannot be split in 8, 7 columns not in 2.
    ("['embedding']", (4, 8), Spec(None, None)),
    ("['layers_2']['attention']['q']", (8, 7), Spec('fsdp', None)),
    ('.step', (), Spec()),
  ],
)  # fmt: skip
def test_a_leaf_is_split_as_its_parameter_is(path, shape, expected):
  assert rules.spec(path, shape, MESH) == expected


def parameters(name):
  """Path -> shape of every parameter of a model of the catalog."""
  shapes = jax.eval_shape(
    decoder.Decoder(catalog.catalog_size(name)).init,
    jax.random.key(0),
    jnp.zeros((1, 4), int),
  )['params']
  return {
    jax.tree_util.keystr(path): x.shape
    for path, x in jax.tree_util.tree_leaves_with_path(shapes)
  }


def names(axes):
  """('fsdp', 'model'), None, 'data'  ->  fsdp, model, data."""
  for axis in axes:
    if isinstance(axis, tuple):
      yield from axis
    elif axis:
      yield axis


@pytest.mark.parametrize('name', catalog.CATALOG)
def test_every_parameter_has_one_rule_and_every_split_divides(name):
  shapes = parameters(name)
  for sizes in MESHES:
    mesh = types.SimpleNamespace(
      shape=dict(zip(meshes.AXES, sizes, strict=True))
    )
    if catalog.catalog_size(name).heads % mesh.shape['model']:
      assert name == 'qwen25_0b5'  # 14 heads: two devices may share them
      continue
    rules.check_divisible(catalog.catalog_size(name), mesh)
    for path, shape in shapes.items():
      (axes,) = rules.matching_rule(path)
      found = list(names(rules.spec(path, shape, mesh)))
      expected = [axis for axis in names(axes) if mesh.shape[axis] > 1]
      assert found == expected, (path, shape)


def test_a_head_is_not_cut_in_two():
  mesh = types.SimpleNamespace(shape={'model': 16})
  with pytest.raises(errors.InputError) as e:
    rules.check_divisible(catalog.catalog_size('gemma_2b'), mesh)
  assert str(e.value).startswith(
    'compute.model=16 does not divide the 8 heads of the model'
  )


def test_a_mesh_without_an_axis_splits_by_the_others():
  mesh = types.SimpleNamespace(shape={'data': 2, 'model': 4})
  assert rules.spec("['embedding']", (8, 8), mesh) == Spec('model', None)
