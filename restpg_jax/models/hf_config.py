"""config.json of a Hugging Face folder: which model it is, as our Size.

Reads the styles of transformers 4 (rope_theta, rope_scaling, ..) and 5
(rope_parameters); writes that of 4, which both understand.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from restpg_jax import errors
from restpg_jax.models import decoder

OWN = 'restpg_jax'  # our own section of config.json
TANH = 'gelu_pytorch_tanh'
ACTIVATIONS = {'silu': 'silu', TANH: 'gelu'}
FIELDS = {  # model_type -> where its activation is
  'gemma': ('hidden_activation', 'hidden_act'),
  'gemma2': ('hidden_activation',),
  'gemma3_text': ('hidden_activation',),
  'llama': ('hidden_act',),
}
KINDS = {'sliding_attention': 'l', 'full_attention': 'g'}
PATTERNS = ('g', 'lg', 'lllllg')  # the published ones
ARCHITECTURES = {
  'gemma': 'GemmaForCausalLM',
  'gemma2': 'Gemma2ForCausalLM',
  'gemma3_text': 'Gemma3ForCausalLM',
  'llama': 'LlamaForCausalLM',
}
OUTER = (  # fields of a multimodal model that are those of its text tower
  'tie_word_embeddings',
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  OWN,
)
_GEMMA = {
  'vocab_size': 256_000,
  'head_dim': 256,
  'rms_norm_eps': 1e-6,
  'tie_word_embeddings': True,
  'rope_theta': 10_000.0,
  'max_position_embeddings': 8192,
}
_GEMMA2 = _GEMMA | {
  'hidden_size': 2304,
  'intermediate_size': 9216,
  'num_hidden_layers': 26,
  'num_attention_heads': 8,
  'num_key_value_heads': 4,
  'hidden_activation': TANH,
  'query_pre_attn_scalar': 256,
  'sliding_window': 4096,
}
DEFAULTS = {  # transformers' own: published files leave such fields out
  'gemma': _GEMMA
  | {
    'hidden_size': 3072,
    'intermediate_size': 24576,
    'num_hidden_layers': 28,
    'num_attention_heads': 16,
    'num_key_value_heads': 16,
    'hidden_act': TANH,
  },
  'gemma2': _GEMMA2
  | {
    'attn_logit_softcapping': 50.0,
    'final_logit_softcapping': 30.0,
    'sliding_window_pattern': 2,
  },
  'gemma3_text': _GEMMA2
  | {
    'vocab_size': 262_208,
    'rope_theta': 1_000_000.0,
    'rope_local_base_freq': 10_000.0,
    'sliding_window_pattern': 6,
    'max_position_embeddings': 131_072,
  },
  'llama': {
    'vocab_size': 32_000,
    'hidden_size': 4096,
    'intermediate_size': 11008,
    'num_hidden_layers': 32,
    'num_attention_heads': 32,
    'hidden_act': 'silu',
    'rms_norm_eps': 1e-6,
    'tie_word_embeddings': False,
    'rope_theta': 10_000.0,
    'max_position_embeddings': 131_072,
  },
}
REFUSED = (  # what would change the logits and is not in our decoder
  'attention_bias',
  'mlp_bias',
  'use_bidirectional_attention',
)


def parse_config(config: Mapping[str, Any]) -> decoder.Size:
  """Raises InputError, which names the field that we cannot follow."""
  own = config.get(OWN, {})
  if config.get('quantization_config'):  # at either level of a nested config
    raise _quantised(config['quantization_config'])
  config = text(config)
  kind = config.get('model_type')
  if kind not in DEFAULTS:
    raise errors.InputError(
      f'model_type {kind!r} is not supported; bring a model of type '
      f'{", ".join([*DEFAULTS, "gemma3"])}'
    )
  if config.get('quantization_config'):
    raise _quantised(config['quantization_config'])
  for name in REFUSED:
    if config.get(name):
      raise _refusal(name, config[name])
  found = DEFAULTS[kind] | dict(config)
  gemma = kind != 'llama'
  size = {
    'layers': _count(found, 'num_hidden_layers'),
    'width': _count(found, 'hidden_size'),
    'hidden': _count(found, 'intermediate_size'),
    'heads': _count(found, 'num_attention_heads'),
    'vocabulary': own.get('vocabulary', _count(found, 'vocab_size')),
    'norm_offset': float(gemma),
    'norm_eps': found['rms_norm_eps'],
    'scaled_embedding': gemma,
    'tied': found['tie_word_embeddings'],
    'post_norms': kind in ('gemma2', 'gemma3_text'),
    'qk_norm': kind == 'gemma3_text',
    'attention_softcap': found.get('attn_logit_softcapping') or 0.0,
    'final_softcap': found.get('final_logit_softcapping') or 0.0,
    'activation': _activation(found, kind),
  }
  size['kv_heads'] = (
    size['heads']
    if found.get('num_key_value_heads') is None
    else _count(found, 'num_key_value_heads')
  )
  size['head_size'] = (
    size['width'] // size['heads']
    if found.get('head_dim') is None
    else _count(found, 'head_dim')
  )
  scalar = found.get('query_pre_attn_scalar')
  if scalar and scalar != size['head_size']:
    size['query_scale'] = scalar**-0.5
  size['pattern'] = _pattern(found, size['layers'])
  if 'l' in size['pattern']:
    size['window'] = found.get('sliding_window') or 0
  return decoder.Size(**size, **_rope(found, kind, size['pattern']))


def text(config: Mapping[str, Any]) -> dict[str, Any]:
  """Of a multimodal Gemma 3 what its text tower would have by itself.

  As in transformers (5) the outer level decides what belongs to the whole
  model: whether the embedding is tied, and the tokens that end a text.
  """
  if config.get('model_type') != 'gemma3':
    return dict(config)
  outer = {'tie_word_embeddings': True} | dict(config)
  whole = {name: outer[name] for name in OUTER if name in outer}
  inner = {'model_type': 'gemma3_text'} | dict(config.get('text_config') or {})
  return inner | whole | {'model_type': 'gemma3_text'}


def embedding_rows(config: Mapping[str, Any]) -> int:
  """Of the embedding in the folder's files."""
  return _count(_with_defaults(config), 'vocab_size')


def context(config: Mapping[str, Any]) -> int:
  """Tokens that the model was made for."""
  return _count(_with_defaults(config), 'max_position_embeddings')


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
  """The fields of the text model, those that are left out too."""
  config = text(config)
  return DEFAULTS[config['model_type']] | config


def render_config(
  size: decoder.Size,
  *,
  rows: int,
  dtype: str,
  published: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """The config.json from which `read` makes this size again.

  Of `published`, the config.json that the model came with, all fields stay
  that do not contradict. Raises InputError where no family has all that the
  size asks for.
  """
  kind = family(size)
  if published:
    config = _kept(published, size, kind, dtype) | {'vocab_size': rows}
    _check(config, size, kind)
    return config
  config = {
    'architectures': [ARCHITECTURES[kind]],
    'model_type': kind,
    'torch_dtype': dtype,
    'vocab_size': rows,
    'hidden_size': size.width,
    'intermediate_size': size.hidden,
    'num_hidden_layers': size.layers,
    'num_attention_heads': size.heads,
    'num_key_value_heads': size.kv_heads,
    'head_dim': size.head_size,
    'max_position_embeddings': DEFAULTS[kind]['max_position_embeddings'],
    'rms_norm_eps': size.norm_eps,
    'rope_theta': size.rope_base,
    'rope_scaling': _scaling(size),
    'tie_word_embeddings': size.tied,
    'attention_bias': False,
    'use_cache': True,
  }
  activation = {v: k for k, v in ACTIVATIONS.items()}[size.activation]
  if kind in ('gemma', 'llama'):
    config['hidden_act'] = activation
  else:
    scale = size.query_scale or size.head_size**-0.5
    config |= {
      'hidden_activation': activation,
      'query_pre_attn_scalar': round(scale**-2),
      'attn_logit_softcapping': size.attention_softcap or None,
      'final_logit_softcapping': size.final_softcap or None,
      'sliding_window': size.window,
      'layer_types': [
        'sliding_attention' if local else 'full_attention'
        for local in size.local_layers()
      ],
    }
  if kind == 'gemma':
    config['hidden_activation'] = activation  # transformers 4 wants it here
  if kind == 'gemma3_text':
    config['rope_local_base_freq'] = size.local_rope_base or size.rope_base
  if size.vocabulary != rows:
    config[OWN] = {'vocabulary': size.vocabulary}
  _check(config, size, kind)
  return config


def _kept(
  published: Mapping[str, Any], size: decoder.Size, kind: str, dtype: str
) -> dict[str, Any]:
  config = text(published)
  names = [n for n in ('dtype', 'torch_dtype') if n in config]
  config |= dict.fromkeys(names or ['torch_dtype'], dtype)
  if ARCHITECTURES[kind] not in (config.get('architectures') or ()):
    config['architectures'] = [ARCHITECTURES[kind]]
  if parse_config(config).tied != size.tied:
    config['tie_word_embeddings'] = size.tied
  return config


def family(size: decoder.Size) -> str:
  """The model_type that comes closest."""
  if not size.norm_offset:
    return 'llama'
  if size.qk_norm:
    return 'gemma3_text'
  return 'gemma2' if size.post_norms else 'gemma'


def _check(config: dict[str, Any], size: decoder.Size, kind: str) -> None:
  again, wanted = (
    dataclasses.asdict(_plain(s)) for s in (parse_config(config), size)
  )
  lost = [f'{k}={v!r}' for k, v in wanted.items() if again[k] != v]
  if lost:
    raise errors.InputError(
      f'a {kind} config.json cannot say {", ".join(lost)} of this model; '
      'only published kinds of models have a Hugging Face form'
    )


def _plain(size: decoder.Size) -> decoder.Size:
  """Equal for sizes that mean the same."""
  local = any(size.local_layers())
  return dataclasses.replace(
    size,
    pattern=''.join('gl'[kind] for kind in size.local_layers()),
    query_scale=size.query_scale or size.head_size**-0.5,
    window=size.window if local else 0,
    local_rope_base=(size.local_rope_base or size.rope_base) if local else 0.0,
    rope_context=size.rope_context if size.rope_scale != 1 else 0,
  )


def _activation(found: Mapping[str, Any], kind: str) -> str:
  """By the field that transformers reads; of the first Gemma either may say it,
  and its own 'gelu' of old has always meant the tanh form."""
  given = {n: found[n] for n in FIELDS[kind] if found.get(n) is not None}
  if kind == 'gemma':
    given = {n: TANH if v == 'gelu' else v for n, v in given.items()}
  for name, value in given.items():
    if value not in ACTIVATIONS:
      raise _refusal(name, value)
  if len(set(given.values())) > 1:
    raise errors.InputError(
      f'{" and ".join(f"{n}={v!r}" for n, v in given.items())} contradict each '
      'other; leave one of them'
    )
  return ACTIVATIONS[next(iter(given.values()))]


def _pattern(found: Mapping[str, Any], layers: int) -> str:
  """The published pattern that gives these layers, else all of them."""
  kinds = found.get('layer_types')
  if kinds is None:
    every = found.get('sliding_window_pattern') or 1
    return 'l' * (every - 1) + 'g'
  if len(kinds) != layers or set(kinds) - set(KINDS):
    raise _refusal('layer_types', kinds)
  word = ''.join(KINDS[kind] for kind in kinds)
  repeated = ((p, (p * layers)[:layers]) for p in PATTERNS)
  return next((p for p, long in repeated if long == word), word)


def _rope(found: Mapping[str, Any], kind: str, pattern: str) -> dict[str, Any]:
  new, old = (found.get(n) or {} for n in ('rope_parameters', 'rope_scaling'))
  whole = {'partial_rotary_factor': found.get('partial_rotary_factor') or 1.0}
  local = {}
  if 'full_attention' in new:
    local = new.get('sliding_attention') or {}
    new = new['full_attention'] or {}
  if any(new.get(name, value) != value for name, value in old.items()):
    raise errors.InputError(
      f'rope_scaling={old!r} and rope_parameters={new!r} contradict each '
      'other; leave one of them'
    )
  everywhere = {**old, **new}
  scale, context = _speed(whole | everywhere)
  if _speed(local) != (1.0, 0):
    raise _refusal('rope_parameters.sliding_attention', local)
  if 'l' in pattern and kind != 'gemma3_text' and scale != 1:
    raise _refusal('rope_scaling', everywhere)
  rope = {
    'rope_base': float(everywhere.get('rope_theta', found['rope_theta'])),
    'rope_scale': scale,
    'rope_context': context,
  }
  if kind == 'gemma3_text':
    base = local.get('rope_theta', found['rope_local_base_freq'])
    rope['local_rope_base'] = float(base)
  return rope


def _speed(rope: Mapping[str, Any]) -> tuple[float, int]:
  """(rope_scale, rope_context)."""
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if rope.get('partial_rotary_factor', 1.0) != 1:
    raise _refusal('partial_rotary_factor', rope['partial_rotary_factor'])
  if kind == 'default':
    return 1.0, 0
  if kind == 'linear':
    return float(rope['factor']), 0
  turns = rope.get('low_freq_factor'), rope.get('high_freq_factor')
  if kind == 'llama3' and turns == (1, 4):
    return float(rope['factor']), rope['original_max_position_embeddings']
  raise _refusal('rope_scaling', dict(rope))


def _scaling(size: decoder.Size) -> dict[str, Any] | None:
  if size.rope_scale == 1:
    return None
  if not size.rope_context:
    return {'rope_type': 'linear', 'factor': size.rope_scale}
  return {
    'rope_type': 'llama3',
    'factor': size.rope_scale,
    'low_freq_factor': 1.0,
    'high_freq_factor': 4.0,
    'original_max_position_embeddings': size.rope_context,
  }


def _count(found: Mapping[str, Any], name: str) -> int:
  value = found.get(name)
  if not isinstance(value, int) or value < 1:
    raise _refusal(name, value)
  return value


def _quantised(value: Any) -> errors.InputError:
  method = value.get('quant_method') if isinstance(value, dict) else value
  return errors.InputError(
    f'quantization_config says that the weights are quantised ({method}), '
    'which are not read; bring those that they were made from'
  )


def _refusal(name: str, value: Any) -> errors.InputError:
  return errors.InputError(
    f'{name}={value!r} is not supported; bring a model without it'
  )
