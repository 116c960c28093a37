"""Settings without what decides nothing beside the others.

That is put back to its default: a judge whom nobody asks, for one, is in no
fingerprint and makes no two experiments out of one.
"""

import dataclasses

from restpg_jax import config


def data(cfg: config.Data) -> config.Data:
  """Of a folder no synthetic users; the rows of these are short and right."""
  return _without(cfg, idle(cfg))


def retrieval(cfg: config.Retrieval, split: str = '') -> config.Retrieval:
  """Only test users are ever given the documents of another one, and an encoder
  is not for every retriever; '' is for requests of no split."""
  return _without(cfg, (*idle(cfg), *['shuffle'] * (split != 'test')))


def reward(cfg: config.Reward) -> config.Reward:
  """Somebody else's may ask the judge, ROUGE does not."""
  return _without(cfg, idle(cfg))


def select(cfg: config.Select) -> config.Select:
  """Each rule has its own bar."""
  return _without(cfg, idle(cfg))


def sampling(cfg: config.Sample | config.Reason):
  """At temperature 0 the likeliest token is taken, whatever the nucleus."""
  return _without(cfg, idle(cfg))


def train(cfg: config.Train) -> config.Train:
  """Of rank 0 there are no adapters."""
  lora = _without(cfg.lora, idle(cfg.lora))
  return dataclasses.replace(cfg, lora=lora)


def idle(cfg) -> tuple[str, ...]:
  """The fields of such a section that decide nothing in any split."""
  match cfg:
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
    case config.Reward(name='rouge'):
      return tuple(vars(cfg).keys() - {'name'})
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


def _without(cfg, names: tuple[str, ...]):
  """The section with these fields at their defaults."""
  default = type(cfg)()
  return dataclasses.replace(
    cfg, **{name: getattr(default, name) for name in names}
  )
