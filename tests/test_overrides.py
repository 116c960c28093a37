"""Facts about restpg_jax/overrides.py: settings by name, and their values."""

import pytest

from restpg_jax import overrides


@pytest.mark.parametrize(
  'key, value',
  [
    ('draw.m', 8),
    ('train.clip', 1),
    ('data.path', 'x'),
    ('fresh_start', False),
    ('methods', ('sft',)),
    ('draw.rounds', (16, 32)),
  ],
)
def test_a_value_of_its_type(key, value):
  assert overrides.mistake(key, value) == ''


@pytest.mark.parametrize(
  'key, value, message',
  [
    ('draw.m', '8', "config.draw.m='8': the value must be int"),
    ('draw.m', 8.0, 'config.draw.m=8.0: the value must be int'),
    ('seed', True, 'config.seed=True: the value must be int'),
    (
      'methods',
      'sft',
      "config.methods='sft': the value must be tuple[str, ...",
    ),
    ('draw.n', 8, 'unknown setting config.draw.n; did you mean config.draw.m?'),
    (3, 8, 'unknown setting config.3; did you mean '),
  ],
)
def test_what_is_wrong_is_said(key, value, message):
  assert overrides.mistake(key, value).startswith(message)
