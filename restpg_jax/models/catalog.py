"""Lists published models by name: the sizes of their text towers.

Vocabularies count the rows of the embedding as DeepMind publishes it; Hugging
Face cuts Gemma 1 and 2 to 256,000 and pads the larger Gemma 3 to 262,208.
"""

import dataclasses
import difflib
import functools

from restpg_jax import errors
from restpg_jax.models import size as sizes

_gemma = functools.partial(sizes.Size, vocabulary=256_128)
_gemma2 = functools.partial(  # arXiv 2408.00118, table 1
  sizes.Size,
  vocabulary=256_128,
  post_norms=True,
  attention_softcap=50.0,
  final_softcap=30.0,
  window=4096,
  pattern='lg',
)
_gemma3 = functools.partial(  # arXiv 2503.19786, section 2
  sizes.Size,
  vocabulary=262_144,
  post_norms=True,
  qk_norm=True,
  pattern='lllllg',
  rope_base=1_000_000.0,
  local_rope_base=10_000.0,
)
_gemma4 = functools.partial(  # config.json of google/gemma-4-*, text_config
  sizes.Size,
  vocabulary=262_144,
  norm_offset=0.0,
  post_norms=True,
  qk_norm=True,
  v_norm=True,
  layer_scalar=True,
  query_scale=1.0,
  final_softcap=30.0,
  window=1024,
  pattern='lllllg',
  rope_base=1_000_000.0,
  local_rope_base=10_000.0,
  rope_share=0.25,
  global_head_size=512,
  global_keys_are_values=True,
)
_gemma3_long = functools.partial(_gemma3, window=1024, rope_scale=8.0)
_llama3 = functools.partial(  # arXiv 2407.21783
  sizes.Size,
  vocabulary=128_256,
  activation='silu',
  norm_offset=0.0,
  norm_eps=1e-5,
  scaled_embedding=False,
  rope_base=500_000.0,
)
_qwen25 = functools.partial(  # arXiv 2412.15115, table 1
  sizes.Size,
  vocabulary=151_936,
  activation='silu',
  norm_offset=0.0,
  scaled_embedding=False,
  qkv_bias=True,
  rope_base=1_000_000.0,
)
_qwen3 = functools.partial(_qwen25, qkv_bias=False, qk_norm=True)  # 2505.09388
CATALOG = {  # layers, width, hidden, heads, kv_heads, head_size
  'gemma_2b': _gemma(18, 2048, 16384, 8, 1, 256),
  'gemma_7b': _gemma(28, 3072, 24576, 16, 16, 256),
  'gemma2_2b': _gemma2(26, 2304, 9216, 8, 4, 256),
  'gemma2_9b': _gemma2(42, 3584, 14336, 16, 8, 256),
  # The 27Bs scale queries by (width / heads) ** -0.5.
  'gemma2_27b': _gemma2(46, 4608, 36864, 32, 16, 128, query_scale=144**-0.5),
  'gemma3_270m': _gemma3(18, 640, 2048, 4, 1, 256, window=512),
  'gemma3_1b': _gemma3(26, 1152, 6912, 4, 1, 256, window=512),
  'gemma3_4b': _gemma3_long(34, 2560, 10240, 8, 4, 256),
  'gemma3_12b': _gemma3_long(48, 3840, 15360, 16, 8, 256),
  'gemma3_27b': _gemma3_long(
    62, 5376, 21504, 32, 16, 128, query_scale=168**-0.5
  ),
  'gemma4_12b': _gemma4(48, 3840, 15360, 16, 8, 256, global_kv_heads=1),
  'gemma4_31b': _gemma4(60, 5376, 21504, 32, 16, 256, global_kv_heads=4),
  'llama32_1b': _llama3(
    16, 2048, 8192, 32, 8, 64, rope_scale=32.0, rope_context=8192
  ),
  'qwen25_0b5': _qwen25(24, 896, 4864, 14, 2, 64),
  'qwen25_1b5': _qwen25(28, 1536, 8960, 12, 2, 128),
  'qwen25_7b': _qwen25(
    28, 3584, 18944, 28, 4, 128, vocabulary=152_064, tied=False
  ),
  'qwen3_0b6': _qwen3(28, 1024, 3072, 16, 8, 128),
  'qwen3_1b7': _qwen3(28, 2048, 6144, 16, 8, 128),
  'qwen3_4b': _qwen3(36, 2560, 9728, 32, 8, 128),
  'qwen3_8b': _qwen3(36, 4096, 12288, 32, 8, 128, tied=False),
}
CONTEXTS = {  # tokens that each was trained on; max_position_embeddings
  **dict.fromkeys(['gemma_2b', 'gemma_7b'], 8192),
  **dict.fromkeys(['gemma2_2b', 'gemma2_9b', 'gemma2_27b'], 8192),
  **dict.fromkeys(['gemma3_270m', 'gemma3_1b'], 32_768),
  **dict.fromkeys(['gemma3_4b', 'gemma3_12b', 'gemma3_27b'], 131_072),
  **dict.fromkeys(['gemma4_12b', 'gemma4_31b'], 262_144),
  'llama32_1b': 131_072,
  'qwen25_0b5': 32_768,
  **dict.fromkeys(['qwen25_1b5', 'qwen25_7b'], 131_072),
  **dict.fromkeys(['qwen3_0b6', 'qwen3_1b7', 'qwen3_4b', 'qwen3_8b'], 40_960),
}


def catalog_context(size: sizes.Size) -> int | None:
  """Returns the context of a published model, None for any other.

  It does not matter to how many rows the embedding is padded.
  """
  any_rows = dataclasses.replace(size, vocabulary=0)
  for name, known in CATALOG.items():
    if dataclasses.replace(known, vocabulary=0) == any_rows:
      return CONTEXTS[name]
  return None


def catalog_size(name: str) -> sizes.Size:
  """Returns the size of this name; raises InputError for an unknown one."""
  if name not in CATALOG:
    nearest = difflib.get_close_matches(name, CATALOG, n=1, cutoff=0.0)[0]
    raise errors.InputError(
      f'unknown model {name!r}; did you mean {nearest}? '
      f'Known: {", ".join(CATALOG)}'
    )
  return CATALOG[name]
