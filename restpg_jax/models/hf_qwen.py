"""What config.json of Qwen 2.5 and 3 says of windows, in its own way."""

from collections.abc import Mapping
from typing import Any

from restpg_jax import errors
from restpg_jax.models import size as sizes

TYPES = 'qwen2', 'qwen3'
FAR, NEAR = 'full_attention', 'sliding_attention'


def layer_types(fields: Mapping[str, Any], layers: int) -> list[str]:
  """Returns what each layer sees: with a window, the upper ones see that only,
  from max_window_layers on.

  Raises InputError where the fields contradict each other.
  """
  slides = fields['use_sliding_window'] and fields['sliding_window']
  types = fields.get('layer_types')
  if types is None:
    first = fields['max_window_layers'] if slides else layers
    return [NEAR if n >= first else FAR for n in range(layers)]
  if NEAR in types and not slides:
    raise errors.InputError(
      f'layer_types has {NEAR!r}, but use_sliding_window='
      f'{fields["use_sliding_window"]} and sliding_window='
      f'{fields["sliding_window"]}: they contradict each other'
    )
  return types


def windows(size: sizes.Size) -> dict[str, Any]:
  """Returns the fields that say how many tokens local layers see, if any."""
  slides = any(size.local_layers())
  return {
    'use_sliding_window': slides,
    'sliding_window': size.window if slides else None,
  }
