"""Tables of names and shapes, against the libraries that made them."""

import numpy as np
import pytest

from restpg_jax.models import catalog, formats
from tests.models import families

GEMMA_2B = catalog.CATALOG['gemma_2b']


def by_name(tensors):
  return {t.name: t for t in tensors}


def test_gemma_2b_as_deepmind_publishes_it():
  found = by_name(formats.gemma(GEMMA_2B, 256_128, transposed=False))
  shapes = {name: t.shape for name, t in found.items() if '_17/' in name}
  assert shapes == {
    'layer_17/attn/attn_vec_einsum/w': (8, 256, 2048),
    'layer_17/attn/q_einsum/w': (8, 2048, 256),
    'layer_17/attn/kv_einsum/w': (2, 1, 2048, 256),
    'layer_17/mlp/gating_einsum': (2, 2048, 16384),
    'layer_17/mlp/linear': (16384, 2048),
    'layer_17/pre_attention_norm/scale': (2048,),
    'layer_17/pre_ffw_norm/scale': (2048,),
  }
  assert found['embedder/input_embedding'].shape == (256_128, 2048)


def test_gemma_7b_packs_queries_keys_and_values():
  size = catalog.CATALOG['gemma_7b']
  found = by_name(formats.gemma(size, 256_128, transposed=False))
  assert found['layer_0/attn/qkv_einsum/w'].shape == (3, 16, 3072, 256)
  assert 'layer_0/attn/q_einsum/w' not in found


def test_gating_is_transposed_where_the_gemma_package_says_so():
  # transpose_gating_einsum of its published configs, gemma 3.3.0
  plain = ['gemma_2b', 'gemma_7b', 'gemma2_2b']
  gemma = {n: s for n, s in catalog.CATALOG.items() if n.startswith('gemma')}
  found = [n for n, s in gemma.items() if formats.gemma_transposed(s)]
  assert sorted(found) == sorted(set(gemma) - set(plain))


@pytest.mark.parametrize(
  'name', [n for n in catalog.CATALOG if 'gem' in n and 'gemma4' not in n]
)
def test_a_published_gemma_is_known_by_its_shapes(name):
  size = catalog.CATALOG[name]
  for types in (0, 6):
    tensors = formats.gemma(
      size,
      size.vocabulary,
      transposed=formats.gemma_transposed(size),
      types=types,
    )
    found = {t.name: t.shape for t in tensors}
    assert formats.gemma_size(found) == size
    assert formats.unstack_names(found)[1] == types


def test_another_shape_is_no_published_gemma():
  tensors = formats.gemma(families.GEMMA['gemma'], 90, transposed=False)
  assert formats.gemma_size({t.name: t.shape for t in tensors}) is None


def test_names_of_all_layouts():
  for name in (
    'transformer/layer_0/mlp/linear/w',
    'params/layer_0/mlp/linear',
    'layer_0/mlp/linear',
  ):
    assert formats.canonical(name) == 'layer_0/mlp/linear'
  assert formats.canonical('transformer/layer_0/attn/q_einsum/w') == (
    'layer_0/attn/q_einsum/w'
  )
  assert formats.flat_name('layer_0/mlp/linear') == (
    'transformer/layer_0/mlp/linear',
    'w',
  )
  assert formats.flat_name('final_norm/scale') == (
    'transformer/final_norm',
    'scale',
  )
  for name in (
    'language_model.model.norm.weight',
    'model.language_model.norm.weight',
    'model.norm.weight',
  ):
    assert formats.hf_canonical(name) == 'model.norm.weight'
  assert formats.hf_canonical('language_model.lm_head.weight') == (
    'lm_head.weight'
  )


def test_axes_go_where_the_decoder_has_them():
  tensor = formats.Tensor(
    'kv', (2, 3, 5, 7), ('k', 'v'), theirs='kdh', axes='dkh', layers=0
  )
  x = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
  v = tensor.to_ours(x, 'v')
  assert v.shape == (5, 3, 7)
  assert v[4, 2, 6] == x[1, 2, 4, 6]
  k = tensor.to_ours(x, 'k').reshape(5, 21)
  np.testing.assert_array_equal(
    tensor.of([k[None], v.reshape(1, 5, 21)]), x, strict=True
  )


def test_padding_is_cut_or_comes_as_zeros():
  x = np.ones((3, 2))
  assert formats.resized(x, 2).tolist() == [[1, 1], [1, 1]]
  assert formats.resized(x, 4).tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]


def test_trees():
  assert formats.flat({'a': {'b': 1}, 'c': 2}) == {'a/b': 1, 'c': 2}
  assert formats.nested({'a/b': 1, 'c': 2}) == {'a': {'b': 1}, 'c': 2}


def test_layers_of_different_shapes_lie_in_a_stack_for_each_letter():
  """Layers 0 and 2 of pattern lg are block_0's: 4 heads of 16, global 32."""
  found = by_name(formats.hf(families.ALL['gemma4'], 90))
  q, far = (found[f'model.layers.{n}.self_attn.q_proj.weight'] for n in (2, 3))
  assert (q.shape, far.shape) == ((64, 36), (128, 36))
  assert (q.leaves, q.layers) == (('layers/block_0/attention/q',), 1)
  assert (far.leaves, far.layers) == (('layers/block_1/attention/q',), 1)
  assert 'model.layers.2.self_attn.v_proj.weight' in found
  assert 'model.layers.3.self_attn.v_proj.weight' not in found


def test_a_checkpoint_whose_layers_have_unequal_heads_is_no_earlier_gemma():
  end = 'attn/attn_vec_einsum/w'
  heads = {f'layer_0/{end}': (16, 256, 3840), f'layer_5/{end}': (16, 512, 3840)}
  assert formats.uneven(heads)
  assert not formats.uneven({f'layer_{n}/{end}': (16, 256, 8) for n in (0, 5)})
