"""Facts about restpg_jax/arguments.py: what stands behind a config's colon."""

import pytest

from restpg_jax import arguments


def get_config(method='sft', users=500, rate=0.5, quick=False):
  return method, users, rate, quick


def called(text):
  positional, keywords = arguments.arguments_of(get_config, text)
  return get_config(*positional, **keywords)


@pytest.mark.parametrize(
  'text, values',
  [
    ('rest_pg', ('rest_pg', 500, 0.5, False)),
    ('a,b', ('a,b', 500, 0.5, False)),  # one argument, as it stands
    ('', ('', 500, 0.5, False)),
    ('quick', ('sft', 500, 0.5, True)),
    ('users=20,quick', ('sft', 20, 0.5, True)),
    ('quick=false,rate=1', ('sft', 500, 1.0, False)),
    ('rest_pg,users=20', ('rest_pg', 20, 0.5, False)),
    ('method=a=b', ('a=b', 500, 0.5, False)),
  ],
)
def test_a_value_has_the_type_of_the_default(text, values):
  assert called(text) == values
  assert list(map(type, called(text))) == [str, int, float, bool]


@pytest.mark.parametrize(
  'text, words',
  [
    (
      'user=3',
      "no argument 'user'; known are method, users, rate, quick",
    ),
    ('users=many', 'users=many: it must be int'),
    ('quick=perhaps', 'quick=perhaps: it must be bool'),
    ('users=3,rest_pg', "'rest_pg' must stand before users"),
  ],
)
def test_what_it_is_not_called_with(text, words):
  with pytest.raises(ValueError, match=words):
    called(text)
