"""Reads and writes config.json of a Hugging Face folder, as our Size.

Reads the styles of transformers 4 (rope_theta, rope_scaling, ..) and 5
(rope_parameters); writes that of 4, which both understand.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from restpg_jax import errors
from restpg_jax.models import hf_defaults, hf_gemma4, hf_qwen
from restpg_jax.models import size as sizes

OWN = 'restpg_jax'  # our own section of config.json
ACTIVATIONS = {'silu': 'silu', hf_defaults.TANH: 'gelu'}
FIELDS = {  # model_type -> where its activation is
  'gemma': ('hidden_activation', 'hidden_act'),
  'gemma2': ('hidden_activation',),
  'gemma3_text': ('hidden_activation',),
  'gemma4_text': ('hidden_activation',),
  'gemma4_unified_text': ('hidden_activation',),
  'llama': ('hidden_act',),
  'qwen2': ('hidden_act',),
  'qwen3': ('hidden_act',),
}
LAYER_LETTERS = {'sliding_attention': 'l', 'full_attention': 'g'}
PATTERNS = ('g', 'lg', 'lllllg')  # the published ones
OUTER_TYPES = {'gemma3': 'gemma3_text', **hf_gemma4.OUTER_TYPES}  # multimodal
OUTER = (  # fields of a multimodal model that are those of its text tower
  'tie_word_embeddings',
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  OWN,
)
REFUSED = (  # what would change the logits and is not in our decoder
  'attention_bias',
  'mlp_bias',
  'use_bidirectional_attention',  # in Gemma 4 it has values that would not
)


def parse_config(config: Mapping[str, Any]) -> sizes.Size:
  """Returns the size of the model that a config.json describes.

  Raises InputError, which names the field that we cannot follow.
  """
  own = config.get(OWN, {})
  if config.get('quantization_config'):  # at either level of a nested config
    raise _quantised(config['quantization_config'])
  config = text(config)
  model_type = config.get('model_type')
  if model_type not in hf_defaults.DEFAULTS:
    raise errors.InputError(
      f'model_type {model_type!r} is not supported; bring a model of type '
      f'{", ".join([*hf_defaults.DEFAULTS, *OUTER_TYPES])}'
    )
  if config.get('quantization_config'):
    raise _quantised(config['quantization_config'])
  gemma = model_type.startswith('gemma')
  gemma4 = model_type in hf_gemma4.TEXT_TYPES
  for name in REFUSED[: 2 if gemma4 else None]:
    if config.get(name):
      raise _refusal(name, config[name])
  fields = hf_defaults.DEFAULTS[model_type] | dict(config)
  if gemma4:
    hf_gemma4.check(fields)
  size: dict[str, Any] = {
    'layers': _count(fields, 'num_hidden_layers'),
    'width': _count(fields, 'hidden_size'),
    'hidden': _count(fields, 'intermediate_size'),
    'heads': _count(fields, 'num_attention_heads'),
    'vocabulary': own.get('vocabulary', _count(fields, 'vocab_size')),
    'norm_offset': float(gemma and not gemma4),
    'norm_eps': fields['rms_norm_eps'],
    'scaled_embedding': gemma,
    'tied': fields['tie_word_embeddings'],
    'post_norms': gemma4 or model_type in ('gemma2', 'gemma3_text'),
    'qk_norm': gemma4 or model_type in ('gemma3_text', 'qwen3'),
    'qkv_bias': model_type == 'qwen2',
    'attention_softcap': fields.get('attn_logit_softcapping') or 0.0,
    'final_softcap': fields.get('final_logit_softcapping') or 0.0,
    'activation': _activation(fields, model_type),
  }
  if fields.get('num_key_value_heads') is None:
    fields['num_key_value_heads'] = size['heads']
  if fields.get('head_dim') is None:
    fields['head_dim'] = size['width'] // size['heads']
  size['kv_heads'] = _count(fields, 'num_key_value_heads')
  size['head_size'] = _count(fields, 'head_dim')
  scalar = fields.get('query_pre_attn_scalar')
  if scalar and scalar != size['head_size']:
    size['query_scale'] = scalar**-0.5
  if model_type in hf_qwen.TYPES:
    fields['layer_types'] = hf_qwen.layer_types(fields, size['layers'])
  size['pattern'] = _pattern(fields, size['layers'], last_global=gemma4)
  if 'l' in size['pattern']:
    size['window'] = fields.get('sliding_window') or 0
  if gemma4:
    letters = (size['pattern'] * size['layers'])[: size['layers']]
    return sizes.Size(**size | hf_gemma4.read(fields, letters))
  return sizes.Size(**size, **_rope(fields, model_type, size['pattern']))


def text(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what the text tower of a multimodal Gemma would have by itself.

  As in transformers (5) the outer level decides what belongs to the whole
  model: whether the embedding is tied, and the tokens that end a text.
  """
  if config.get('model_type') not in OUTER_TYPES:
    return dict(config)
  model_type = OUTER_TYPES[config['model_type']]
  outer = {'tie_word_embeddings': True} | dict(config)
  whole = {name: outer[name] for name in OUTER if name in outer}
  inner = {'model_type': model_type} | dict(config.get('text_config') or {})
  return inner | whole | {'model_type': model_type}


def embedding_rows(config: Mapping[str, Any]) -> int:
  """Returns the rows of the embedding in the folder's files."""
  return _count(_with_defaults(config), 'vocab_size')


def context(config: Mapping[str, Any]) -> int:
  """Returns the length in tokens that the model was made for."""
  return _count(_with_defaults(config), 'max_position_embeddings')


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the fields of the text model, those that are left out too."""
  config = text(config)
  return hf_defaults.DEFAULTS[config['model_type']] | config


def render_config(
  size: sizes.Size,
  *,
  rows: int,
  dtype: str,
  published: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
  """Returns the config.json from which `parse_config` gets this size again.

  All fields of `published`, the config.json that the model came with, stay
  where they do not contradict. Raises InputError where no family has all that
  the size asks for.
  """
  model_type = family(size)
  if published:
    own = str(text(published).get('model_type'))
    if {own, model_type} <= set(hf_gemma4.TEXT_TYPES):
      model_type = own  # two names of the same text tower
    config = _kept(published, size, model_type, dtype) | {'vocab_size': rows}
    _check(config, size, model_type)
    return config
  config = {
    'architectures': [hf_defaults.ARCHITECTURES[model_type]],
    'model_type': model_type,
    'torch_dtype': dtype,
    'vocab_size': rows,
    'hidden_size': size.width,
    'intermediate_size': size.hidden,
    'num_hidden_layers': size.layers,
    'num_attention_heads': size.heads,
    'num_key_value_heads': size.kv_heads,
    'head_dim': size.head_size,
    'max_position_embeddings': hf_defaults.DEFAULTS[model_type][
      'max_position_embeddings'
    ],
    'rms_norm_eps': size.norm_eps,
    'tie_word_embeddings': size.tied,
    'attention_bias': False,
    'use_cache': True,
  }
  activation = {v: k for k, v in ACTIVATIONS.items()}[size.activation]
  if model_type in hf_qwen.TYPES:
    config |= {'hidden_act': activation} | hf_qwen.windows(size)
    config['layer_types'] = _layer_types(size)
  elif model_type in ('gemma', 'llama'):
    config['hidden_act'] = activation
  else:
    config |= {
      'hidden_activation': activation,
      'sliding_window': size.window,
      'layer_types': _layer_types(size),
    }
  if model_type in hf_gemma4.TEXT_TYPES:
    config |= hf_gemma4.render(size)
  else:
    config |= {'rope_theta': size.rope_base, 'rope_scaling': _scaling(size)}
  if model_type in ('gemma2', 'gemma3_text'):
    scale = size.query_scale or size.head_size**-0.5
    config |= {
      'query_pre_attn_scalar': round(scale**-2),
      'attn_logit_softcapping': size.attention_softcap or None,
      'final_logit_softcapping': size.final_softcap or None,
    }
  if model_type == 'gemma':
    config['hidden_activation'] = activation  # transformers 4 wants it here
  if model_type == 'gemma3_text':
    config['rope_local_base_freq'] = size.local_rope_base or size.rope_base
  if size.vocabulary != rows:
    config[OWN] = {'vocabulary': size.vocabulary}
  _check(config, size, model_type)
  return config


def _kept(
  published: Mapping[str, Any], size: sizes.Size, model_type: str, dtype: str
) -> dict[str, Any]:
  config = text(published)
  names = [n for n in ('dtype', 'torch_dtype') if n in config]
  config |= dict.fromkeys(names or ['torch_dtype'], dtype)
  if hf_defaults.ARCHITECTURES[model_type] not in (
    config.get('architectures') or ()
  ):
    config['architectures'] = [hf_defaults.ARCHITECTURES[model_type]]
  if parse_config(config).tied != size.tied:
    config['tie_word_embeddings'] = size.tied
  return config


def _layer_types(size: sizes.Size) -> list[str]:
  letters = {letter: name for name, letter in LAYER_LETTERS.items()}
  return [letters['l' if local else 'g'] for local in size.local_layers()]


def family(size: sizes.Size) -> str:
  """Returns the model_type that comes closest."""
  if size.layer_scalar:
    return 'gemma4_text'
  if not size.norm_offset:
    if size.qkv_bias:
      return 'qwen2'
    return 'qwen3' if size.qk_norm else 'llama'
  if size.qk_norm:
    return 'gemma3_text'
  return 'gemma2' if size.post_norms else 'gemma'


def _check(config: dict[str, Any], size: sizes.Size, model_type: str) -> None:
  parsed, original = (
    dataclasses.asdict(_plain(s)) for s in (parse_config(config), size)
  )
  lost = [f'{k}={v!r}' for k, v in original.items() if parsed[k] != v]
  if lost:
    raise errors.InputError(
      f'a {model_type} config.json cannot say {", ".join(lost)} of this model; '
      'only published kinds of models have a Hugging Face form'
    )


def _plain(size: sizes.Size) -> sizes.Size:
  """Returns a size that is equal for sizes that mean the same."""
  local = any(size.local_layers())
  return dataclasses.replace(
    size,
    pattern=''.join('gl'[local] for local in size.local_layers()),
    query_scale=size.query_scale or size.head_size**-0.5,
    window=size.window if local else 0,
    local_rope_base=(size.local_rope_base or size.rope_base) if local else 0.0,
    rope_context=size.rope_context if size.rope_scale != 1 else 0,
    global_head_size=(size.global_head_size or size.head_size) if local else 0,
    global_kv_heads=(size.global_kv_heads or size.kv_heads) if local else 0,
  )


def _activation(fields: Mapping[str, Any], model_type: str) -> str:
  """Reads the field that transformers reads.

  In the first Gemma either field may say it, and its own 'gelu' of old has
  always meant the tanh form.
  """
  given = {
    n: fields[n] for n in FIELDS[model_type] if fields.get(n) is not None
  }
  if model_type == 'gemma':
    given = {
      n: hf_defaults.TANH if v == 'gelu' else v for n, v in given.items()
    }
  for name, value in given.items():
    if value not in ACTIVATIONS:
      raise _refusal(name, value)
  if len(set(given.values())) > 1:
    raise errors.InputError(
      f'{" and ".join(f"{n}={v!r}" for n, v in given.items())} contradict each '
      'other; leave one of them'
    )
  return ACTIVATIONS[next(iter(given.values()))]


def _pattern(
  fields: Mapping[str, Any], layers: int, *, last_global: bool
) -> str:
  """Returns the published pattern of these layers, else all of them.

  With `last_global` the last one is global whatever the field says, and a
  pattern is returned only where the layers are whole repeats of it.
  """
  types = fields.get('layer_types')
  if types is None:
    every = fields.get('sliding_window_pattern') or 1
    pattern = 'l' * (every - 1) + 'g'
    if not last_global or layers % every == 0:
      return pattern
    return (pattern * layers)[: layers - 1] + 'g'
  if len(types) != layers or set(types) - set(LAYER_LETTERS):
    raise _refusal('layer_types', types)
  letters = ''.join(LAYER_LETTERS[name] for name in types)
  known = PATTERNS
  if last_global:
    letters = letters[:-1] + 'g'
    known = [p for p in PATTERNS if layers % len(p) == 0]
  repeated = ((p, (p * layers)[:layers]) for p in known)
  return next((p for p, long in repeated if long == letters), letters)


def _rope(
  fields: Mapping[str, Any], model_type: str, pattern: str
) -> dict[str, Any]:
  new, old = (fields.get(n) or {} for n in ('rope_parameters', 'rope_scaling'))
  whole = {'partial_rotary_factor': fields.get('partial_rotary_factor') or 1.0}
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
  if 'l' in pattern and model_type != 'gemma3_text' and scale != 1:
    raise _refusal('rope_scaling', everywhere)
  rope = {
    'rope_base': float(everywhere.get('rope_theta', fields['rope_theta'])),
    'rope_scale': scale,
    'rope_context': context,
  }
  if model_type == 'gemma3_text':
    base = local.get('rope_theta', fields['rope_local_base_freq'])
    rope['local_rope_base'] = float(base)
  return rope


def _speed(rope: Mapping[str, Any]) -> tuple[float, int]:
  """Returns (rope_scale, rope_context)."""
  rope_type = rope.get('rope_type', rope.get('type', 'default'))
  if rope.get('partial_rotary_factor', 1.0) != 1:
    raise _refusal('partial_rotary_factor', rope['partial_rotary_factor'])
  if rope_type == 'default':
    return 1.0, 0
  if rope_type == 'linear':
    return float(rope['factor']), 0
  turns = rope.get('low_freq_factor'), rope.get('high_freq_factor')
  if rope_type == 'llama3' and turns == (1, 4):
    return float(rope['factor']), rope['original_max_position_embeddings']
  raise _refusal('rope_scaling', dict(rope))


def _scaling(size: sizes.Size) -> dict[str, Any] | None:
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


def _count(fields: Mapping[str, Any], name: str) -> int:
  value = fields.get(name)
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
