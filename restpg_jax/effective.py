"""Puts settings that decide nothing beside the others back to defaults.

A judge whom nobody asks, for one, is then in no fingerprint and makes no two
experiments out of one.
"""

import dataclasses
from typing import TypeVar

from restpg_jax import config
from restpg_jax.rewards import mixture

Sampling = TypeVar('Sampling', config.Sample, config.Reason)
REWARD_FIELDS = {  # those that each reward reads
  'judge': {'model', 'template', 'max_input', 'dtype', 'rule'},
  'rouge': set(),
  'cosine': {'encoder'},
}
Section = TypeVar(
  'Section',
  config.Data,
  config.Retrieval,
  config.Reward,
  config.Select,
  config.Sample,
  config.Reason,
  config.Lora,
)


def data(settings: config.Data) -> config.Data:
  """Leaves out the synthetic users where there is a folder of data, else what
  concerns long or broken rows, of which they have none."""
  return _without(settings, idle(settings))


def retrieval(settings: config.Retrieval, split: str = '') -> config.Retrieval:
  """Leaves out what the retriever does not use, and `shuffle` but for `test`.

  `split` is '' for requests that belong to no split.
  """
  return _without(settings, (*idle(settings), *['shuffle'] * (split != 'test')))


def reward(settings: config.Reward) -> config.Reward:
  """Leaves out the judge or the encoder where no reward of the run asks it.

  Somebody else's reward may ask both.
  """
  return _without(settings, idle(settings))


def select(settings: config.Select) -> config.Select:
  """Leaves out the bar of the other rule, threshold or floor."""
  return _without(settings, idle(settings))


def sampling(settings: Sampling) -> Sampling:
  """Leaves out the nucleus at temperature 0: the likeliest token is taken."""
  return _without(settings, idle(settings))


def train(settings: config.Train) -> config.Train:
  """Leaves out the settings of adapters at rank 0, where there are none."""
  lora = _without(settings.lora, idle(settings.lora))
  return dataclasses.replace(settings, lora=lora)


def idle(settings: object) -> tuple[str, ...]:
  """Returns the fields of a section that decide nothing in any split."""
  match settings:
    case config.Data(path=''):
      return 'setting', 'max_text', 'on_error'
    case config.Data():
      return ('world',)
    case config.Retrieval(name='none'):
      return 'shuffle', 'encoder', 'k'
    case config.Retrieval(name='contriever'):
      return ()
    case config.Retrieval():
      return ('encoder',)
    case config.Reward():
      return _idle_of_reward(settings)
    case config.Select(rule='best'):
      return ('threshold',)
    case config.Select():
      return ('floor',)
    case config.Sample(temperature=0):
      return 'top_p', 'top_k'
    case config.Reason(temperature=0):
      return ('top_p',)
    case config.Lora(rank=0):
      return 'alpha', 'targets'
  return ()


def _idle_of_reward(settings: config.Reward) -> tuple[str, ...]:
  used = {'name', *['mix'] * (settings.name == mixture.MIX)}
  for name in mixture.shares(settings):
    used |= REWARD_FIELDS.get(name, vars(settings).keys() - {'mix'})
  return tuple(field for field in vars(settings) if field not in used)


def _without(settings: Section, names: tuple[str, ...]) -> Section:
  """Returns the section with these fields at their defaults."""
  default = type(settings)()
  return dataclasses.replace(
    settings, **{name: getattr(default, name) for name in names}
  )
