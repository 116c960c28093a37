"""A run of every stage that takes seconds, and a way to kill it."""

import dataclasses

from restpg_jax import config
from restpg_jax.io import append_log, records


def small(**changed) -> config.Config:
  """Every stage of REST-PG, a few examples each."""
  return dataclasses.replace(
    config.Config(
      methods=('sft_reasoning', 'rest_pg'),
      iterations=1,
      data=config.Data(world=config.World(train=16, val=4, test=8)),
      prompt=config.Prompt(
        template='prompts/tiny/policy.txt', max_input=192, max_output=64
      ),
      reason=config.Reason(
        template='prompts/tiny/reasoner.txt', max_input=256, max_output=64
      ),
      draw=config.Draw(m=4),
      reward=config.Reward(name='rouge'),
      select=config.Select(rule='best', floor=0.0),
      train=config.Train(
        steps=4,
        batch_size=8,
        warmup=1,
        learning_rate=1e-3,
        checkpoint_every=2,
        compute_dtype='float32',
      ),
      choose=config.Choose(examples=1),
      compute=config.Compute(prompts=4, samples=4, judged=8, log_every=2),
    ),
    **changed,
  )


def kill_at_write(monkeypatch, writes):
  """Interrupted while the n-th piece of a stage is written, half of it lost."""
  left = [writes]

  def torn(append):
    def appended(self, items):
      left[0] -= 1
      if left[0]:
        return append(self, items)
      with self._path.open('ab') as file:
        file.write(b'{"example_id": "torn')
      raise KeyboardInterrupt

    return appended

  for kind in (records.Appender, append_log.AppendLog):
    monkeypatch.setattr(kind, 'append', torn(kind.append))
