"""What DeepMind's `gemma` package says about sizes and logits.

`python -m tests.models.gemma_package OUT` writes sizes.json, the fields of
its published configs, and logits.npz, those of the reduced models. In a process
of its own: gemma brings TensorFlow, and the triton of a CUDA PyTorch crashes
where TensorFlow came first.
"""

import json
import pathlib
import sys

import numpy as np
from kauldron import checkpoints

# gemma 3.3.0, the last one for Python 3.11, knows this class by the name it
# had before kauldron 1.4; older kauldrons do not import with our JAX.
if not hasattr(checkpoints, 'AbstractPartialLoader'):
  checkpoints.AbstractPartialLoader = checkpoints.InitTransform

from gemma import gm  # noqa: E402

from restpg_jax.models import formats

# noqa: E402
from tests.models import families  # noqa: E402

config = gm.nn.config
PUBLISHED = {
  'gemma2_2b': gm.nn.Gemma2_2B,
  'gemma2_9b': gm.nn.Gemma2_9B,
  'gemma2_27b': gm.nn.Gemma2_27B,
  'gemma3_270m': gm.nn.Gemma3_270M,
  'gemma3_1b': gm.nn.Gemma3_1B,
  'gemma3_4b': gm.nn.Gemma3_4B,
  'gemma3_12b': gm.nn.Gemma3_12B,
  'gemma3_27b': gm.nn.Gemma3_27B,
}


def main(out):
  out = pathlib.Path(out)
  sizes = {name: fields(model.config) for name, model in PUBLISHED.items()}
  (out / 'sizes.json').write_text(json.dumps(sizes))
  found = {name: logits(size) for name, size in families.GEMMA.items()}
  np.savez(out / 'logits.npz', **found)


def fields(theirs):
  plain = {
    key: value
    for key, value in vars(theirs).items()
    if isinstance(value, int | float | None)
  }
  local = [kind.name == 'LOCAL_SLIDING' for kind in theirs.attention_types]
  scale = theirs.query_pre_attn_scalar()
  return plain | {'local_layers': local, 'query_scale': scale}


def logits(size):
  """[6, 300, V] for families.TOKENS with families.parameters."""
  # Gemma 2 2B lays its gates out as Gemma 1 does, Gemma 3 transposed.
  transposed = size.qk_norm
  model = gm.nn.Transformer(config=reduced(size, transposed), dtype=np.float32)
  tensors = formats.gemma(size, size.vocabulary, transposed=transposed)
  params = families.written(families.parameters(size), tensors)
  params = formats.nested(params)
  tokens_BL = families.rows(families.TOKENS, max(families.LENGTHS))
  return np.asarray(model.apply({'params': params}, tokens_BL).logits)


def reduced(size, transposed):
  kinds = config.AttentionType
  by = config.QueryPreAttentionNormalisation
  return config.TransformerConfig(
    num_embed=size.vocabulary,
    embed_dim=size.width,
    hidden_dim=size.hidden,
    num_heads=size.heads,
    head_dim=size.head_size,
    num_kv_heads=size.kv_heads,
    final_logit_softcap=size.final_softcap or None,
    use_post_attn_norm=size.post_norms,
    use_post_ffw_norm=size.post_norms,
    attention_types=[
      kinds.LOCAL_SLIDING if local else kinds.GLOBAL
      for local in size.local_layers()
    ],
    query_pre_attn_norm=by.BY_ONE_OVER_SQRT_EMBED_DIM_DIV_NUM_HEADS
    if size.query_scale
    else by.BY_ONE_OVER_SQRT_HEAD_DIM,
    attn_logits_soft_cap=size.attention_softcap or None,
    sliding_window_size=size.window or None,
    transpose_gating_einsum=transposed,
    use_qk_norm=size.qk_norm,
    local_base_frequency=size.local_rope_base or size.rope_base,
    global_base_frequency=size.rope_base,
    global_scale_factor=size.rope_scale,
  )


if __name__ == '__main__':
  main(sys.argv[1])
