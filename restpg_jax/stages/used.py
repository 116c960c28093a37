"""Settings without what decides nothing beside the others.

That is put back to its default: a judge whom nobody asks, for one, is in no
fingerprint and makes no two experiments out of one.
"""

import dataclasses

from restpg_jax import config


def data(cfg: config.Data) -> config.Data:
  """Of a folder no synthetic users; the rows of these are short and right."""
  idle = ('world',) if cfg.path else ('setting', 'max_text', 'on_error')
  return _without(cfg, *idle)


def retrieval(cfg: config.Retrieval, split: str = '') -> config.Retrieval:
  """Only test users are ever given the documents of another one, and an encoder
  is not for every retriever; '' is for requests of no split."""
  idle = []
  if split != 'test' or cfg.name == 'none':
    idle += ['shuffle']
  if cfg.name != 'contriever':
    idle += ['encoder']
  if cfg.name == 'none':
    idle += ['k']
  return _without(cfg, *idle)


def reward(cfg: config.Reward) -> config.Reward:
  """Somebody else's may ask the judge, ROUGE does not."""
  return config.Reward(name=cfg.name) if cfg.name == 'rouge' else cfg


def select(cfg: config.Select) -> config.Select:
  """Each rule has its own bar."""
  return _without(cfg, 'threshold' if cfg.rule == 'best' else 'floor')


def sampling(cfg: config.Sample | config.Reason):
  """At temperature 0 the likeliest token is taken, whatever the nucleus."""
  return cfg if cfg.temperature else _without(cfg, 'top_p', 'top_k')


def train(cfg: config.Train) -> config.Train:
  """Of rank 0 there are no adapters."""
  return cfg if cfg.lora.rank else _without(cfg, 'lora')


def _without(cfg, *idle: str):
  """The section with those of these fields that it has at their defaults."""
  default = type(cfg)()
  fields = {field.name for field in dataclasses.fields(cfg)}
  return dataclasses.replace(
    cfg, **{name: getattr(default, name) for name in idle if name in fields}
  )
