"""Reads samples of the E-steps that the reward has scored, of some inputs."""

import dataclasses
import random
import re
from collections.abc import Iterator

from etils import epath

from restpg_jax import types
from restpg_jax.audit import subjects
from restpg_jax.engines import prompting
from restpg_jax.io import artifacts, located, records
from restpg_jax.report import answers
from restpg_jax.text import templates

E_STEP = re.compile(r'e_step(\d+)')


def read_draws(
  subject: subjects.Subject, *, count: int, seed: int
) -> list[answers.Evaluation]:
  """Returns an evaluation for each store of scored samples in the workdir.

  Of at most `count` inputs of each task, with all their samples: what the
  reward is asked while a policy learns, warmer and more varied than test
  answers. Stores of another reward are left out; the precision may differ.
  """
  return [
    _read(subject, store, t, count, seed) for t, store in _stores(subject)
  ]


def _stores(subject: subjects.Subject) -> Iterator[tuple[int, epath.Path]]:
  """Yields the iteration and the folder of each store, in order."""
  for folder in sorted(subject.workdir.iterdir()):
    if not (match := E_STEP.fullmatch(folder.name)):
      continue
    for store in sorted(folder.iterdir()):
      done = store / artifacts.DONE
      if store.name.startswith('score') and done.exists():
        noted = records.read_json(done)['cfg']['reward']
        reward = subjects.noted_reward(subject.workdir, noted)
        same = dataclasses.replace(reward, dtype=subject.reward.dtype)
        if same == subject.reward:
          yield int(match[1]), store


def _read(
  subject: subjects.Subject, store: epath.Path, t: int, count: int, seed: int
) -> answers.Evaluation:
  done = records.read_json(store / artifacts.DONE)
  cfg, examples = done['cfg'], done['inputs'][0]['path']
  path = subject.workdir / examples / 'examples.jsonl'
  output = None
  if cfg['reasoning']:
    template = located.resolved(cfg['prompt']['template'], subject.workdir)
    output = templates.Output.of(prompting.load_template(template))
  scored = answers.read_answers(
    answers.Files(path, store / 'scored.jsonl', whole=False),
    m=cfg['m'],
    output=output,
    ids=_ids(path, count, seed),
  )
  name = str(store.relative_to(subject.workdir))
  return answers.Evaluation(name, t, tuple(scored))


def _ids(path: epath.Path, count: int, seed: int) -> set[str]:
  """Draws the ids of at most `count` examples of each task."""
  by_task: dict[str, list[str]] = {}
  for example in records.read(path, types.Example):
    by_task.setdefault(example.task, []).append(example.id)
  rng = random.Random(f'draws {seed}')
  return {
    id
    for ids in by_task.values()
    for id in rng.sample(sorted(ids), min(count, len(ids)))
  }
