"""A reduced model of each family, with every odd feature in one of them."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax.models import catalog, decoder, formats
from restpg_jax.models import size as sizes


def reduced(name: str, *shape: int, **changes) -> sizes.Size:
  """A published size with other numbers and all its habits."""
  names = ('layers', 'width', 'hidden', 'heads', 'kv_heads', 'head_size')
  numbers = dict(zip(names, shape, strict=True), vocabulary=90)
  return dataclasses.replace(catalog.catalog_size(name), **numbers, **changes)


GEMMA = {
  'gemma': reduced('gemma_2b', 2, 40, 56, 4, 1, 16),
  'gemma2': reduced(
    'gemma2_2b',
    *(3, 40, 56, 4, 2, 16),
    attention_softcap=4.0,
    final_softcap=8.0,
    window=7,
    # HF and DeepMind both give such scales: (width / heads) ** -0.5
    query_scale=10**-0.5,
  ),
  'gemma3': reduced('gemma3_4b', 7, 36, 48, 3, 1, 16, window=9, rope_scale=8.0),
  'gemma3_full_heads': reduced('gemma3_1b', 6, 32, 48, 2, 2, 24, window=100),
}
LLAMA = {
  'llama': reduced(
    'llama32_1b', 2, 48, 56, 4, 2, 16, tied=False, rope_context=64
  ),
  'llama_full_heads': reduced(
    'llama32_1b', 2, 40, 56, 4, 4, 8, rope_scale=4.0, rope_context=0
  ),
}
QWEN = {
  'qwen2': reduced(  # its window is that of the upper layers
    'qwen25_7b', 3, 48, 56, 4, 2, 16, pattern='gll', window=7
  ),
  'qwen3': reduced('qwen3_0b6', 2, 40, 56, 4, 2, 16),
}
GEMMA4 = {  # of which DeepMind's checkpoints are not read
  'gemma4': reduced(
    'gemma4_12b',
    # Two turns. Of six layers each, random weights would amplify rounding:
    # transformers itself would be 1.9e-4 from its own float64.
    *(4, 36, 48, 4, 2, 16),
    global_head_size=32,
    final_softcap=8.0,
    pattern='lg',
    window=9,
  ),
  'gemma4_own_values': reduced(
    'gemma4_31b',
    *(3, 40, 56, 4, 2, 16),
    global_head_size=24,
    global_kv_heads=0,
    global_keys_are_values=False,
    rope_share=0.5,
    pattern='llg',
    window=100,
  ),
}
ALL = GEMMA | LLAMA | GEMMA4 | QWEN

LENGTHS = (1, 2, 6, 40, 128, 300)  # of the prompts
TOKENS = tuple(
  np.random.default_rng(5).integers(1, 90, n).tolist() for n in LENGTHS
)


# Of random weights, where it is not 1: attention that is neither flat nor a
# choice of one, and layers that outweigh the last token's own embedding, as
# continuations would only repeat it otherwise.
GAIN = {'q': 1.5, 'k': 1.5, 'out': 4.0, 'down': 4.0}
MIDDLE = {  # factors of norms
  'q_norm': 0.75,
  'k_norm': 0.75,
  'attention_post_norm': 2.0,
  'feed_forward_post_norm': 2.0,
  'final_norm': 4.0,
}


@functools.cache
def parameters(size: sizes.Size) -> dict:
  """Random weights that let every part matter; logits of scale 1 to 10."""
  shapes = jax.eval_shape(
    decoder.Decoder(size).init, jax.random.key(0), jnp.zeros((1, 4), int)
  )['params']
  rng = np.random.default_rng(3)

  def draw(path, leaf):
    name = path[-1].key
    if name == 'scale':
      middle = MIDDLE.get(path[-2].key, 1.0)
      x = middle - size.norm_offset + rng.normal(0, 0.3, leaf.shape)
      if size.query_scale == 1 and path[-2].key in ('q_norm', 'k_norm'):
        x *= leaf.shape[1] ** -0.25  # these norms do what the scale does not
    elif name.endswith('_bias'):
      x = rng.normal(0, 0.5, leaf.shape)
    elif name == 'layer_scalar':
      x = 1 + rng.normal(0, 0.2, leaf.shape)
    elif name in ('embedding', 'head'):
      x = rng.normal(0, 0.15, leaf.shape)
    else:
      deviation = GAIN.get(name, 1.0) * leaf.shape[1] ** -0.5
      x = rng.normal(0, deviation, leaf.shape)
    return np.float32(x)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def written(tree, tensors) -> dict[str, np.ndarray]:
  """A tree like the parameters as tensors of another format, by name."""
  ours = {path: np.asarray(x) for path, x in formats.flat(tree).items()}
  return {t.name: t.of([ours[path] for path in t.leaves]) for t in tensors}


def rows(prompts, length: int, *, left: bool = False) -> np.ndarray:
  """Prompts padded with 0 to `length`, on the right or on the left."""
  out = np.zeros((len(prompts), length), int)
  for row, prompt in zip(out, prompts, strict=True):
    row[length - len(prompt) if left else 0 :][: len(prompt)] = prompt
  return out


@functools.cache
def logits(size: sizes.Size) -> np.ndarray:
  """[6, 300, V] of our decoder for TOKENS, right-padded."""
  apply = jax.jit(decoder.Decoder(size).apply)
  return np.asarray(
    apply({'params': parameters(size)}, rows(TOKENS, max(LENGTHS)))
  )
