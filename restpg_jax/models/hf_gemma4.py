"""What config.json of Gemma 4 says beyond that of Gemma 3.

Supported is the dense text tower, as 12B and 31B have it. As transformers 5
reads it (models/gemma4, models/gemma4_unified): global layers have heads of
their own size and number, and transformers writes these as exceptions for each
layer.
"""

from collections.abc import Mapping
from typing import Any

from restpg_jax import errors
from restpg_jax.models import size as sizes

TEXT_TYPES = ('gemma4_text', 'gemma4_unified_text')  # 31B's and 12B's
OUTER_TYPES = {'gemma4': 'gemma4_text', 'gemma4_unified': 'gemma4_unified_text'}
UNSUPPORTED = {  # field -> what it means; any of them would change the logits
  'hidden_size_per_layer_input': 'per-layer embeddings, as in E2B and E4B',
  'num_kv_shared_layers': 'layers that share keys, as in E2B and E4B',
  'enable_moe_block': 'experts, as in 26B-A4B',
}
SUPPORTED = 'supported of Gemma 4 are dense text towers, those of 12B and 31B'
_ROPE = {  # of configs that do not say it
  'full_attention': {
    'rope_type': 'proportional',
    'partial_rotary_factor': 0.25,
    'rope_theta': 1_000_000.0,
  },
  'sliding_attention': {'rope_type': 'default', 'rope_theta': 10_000.0},
}


def check(fields: Mapping[str, Any]) -> None:
  """Raises InputError for a member of the family that is not supported."""
  for name, meaning in UNSUPPORTED.items():
    if fields.get(name):
      raise errors.InputError(
        f'{name}={fields[name]!r} ({meaning}) is not supported; {SUPPORTED}'
      )
  # 'vision' is about pictures: between texts attention is causal.
  direction = fields.get('use_bidirectional_attention')
  if direction not in (None, False, 'vision'):
    raise _refusal('use_bidirectional_attention', direction)


def read(fields: Mapping[str, Any], letters: str) -> dict[str, Any]:
  """Returns the fields of a Size that no other family has, and the rotation.

  `letters` are those of all layers, l local, g global.
  """
  if set(letters) != {'l', 'g'}:
    raise _refusal('layer_types', fields.get('layer_types'))
  keys_are_values = bool(fields.get('attention_k_eq_v'))
  head_size, kv_heads = _global_heads(fields, letters, keys_are_values)
  rope = fields.get('rope_parameters') or _ROPE
  if set(rope) != set(_ROPE) or not all(
    isinstance(x, Mapping) and 'rope_theta' in x for x in rope.values()
  ):
    raise _refusal('rope_parameters', rope)
  near, far = rope['sliding_attention'], rope['full_attention']
  types = near.get('rope_type', 'default'), far.get('rope_type', 'default')
  if types not in (('default', 'default'), ('default', 'proportional')):
    raise _refusal('rope_parameters', rope)
  partial = types[1] == 'proportional'
  return {
    'query_scale': 1.0,
    'v_norm': True,
    'layer_scalar': True,
    'global_head_size': head_size,
    'global_kv_heads': kv_heads,
    'global_keys_are_values': keys_are_values,
    'rope_base': float(far['rope_theta']),
    'rope_share': float(far.get('partial_rotary_factor', 1))
    if partial
    else 1.0,
    'rope_scale': float(far.get('factor', 1)) if partial else 1.0,
    'local_rope_base': float(near['rope_theta']),
  }


def _global_heads(
  fields: Mapping[str, Any], letters: str, keys_are_values: bool
) -> tuple[int, int]:
  """Returns (size of a head, number of key heads) of global layers; 0: same."""
  by_layer = fields.get('per_layer_config')
  if by_layer is None:
    own = fields.get('num_global_key_value_heads') if keys_are_values else None
    head_size = fields.get('global_head_dim')
    return 512 if head_size is None else head_size, own or 0
  far = {n for n, letter in enumerate(letters) if letter == 'g'}
  changes = [dict(change) for change in by_layer.values()]
  if (
    {int(n) for n in by_layer} != far
    or any(change != changes[0] for change in changes)
    or set(changes[0]) - {'head_dim', 'num_key_value_heads'}
  ):
    raise _refusal('per_layer_config', by_layer)
  heads = changes[0]
  return heads.get('head_dim', 0), heads.get('num_key_value_heads', 0)


def render(size: sizes.Size) -> dict[str, Any]:
  """Returns the fields of config.json from which `read` gets these again."""
  far = _ROPE['full_attention'] | {
    'rope_theta': size.rope_base,
    'partial_rotary_factor': size.rope_share,
  }
  if size.rope_scale != 1:
    far['factor'] = size.rope_scale
  near = _ROPE['sliding_attention'] | {
    'rope_theta': size.local_rope_base or size.rope_base
  }
  return {
    'max_position_embeddings': 262_144,  # of both that are supported
    'global_head_dim': size.global_head_size or size.head_size,
    'num_global_key_value_heads': size.global_kv_heads or None,
    'attention_k_eq_v': size.global_keys_are_values,
    'rope_parameters': {'full_attention': far, 'sliding_attention': near},
    'final_logit_softcapping': size.final_softcap or None,
    'hidden_size_per_layer_input': 0,
    'num_kv_shared_layers': 0,
    'enable_moe_block': False,
  }


def _refusal(name: str, value: Any) -> errors.InputError:
  return errors.InputError(f'{name}={value!r} is not supported; {SUPPORTED}')
