"""Reads what an audit is of: the reward of a run, and what it has scored."""

import dataclasses
import warnings
from typing import Any

from etils import epath

from restpg_jax import config, effective, errors, experiments, variants
from restpg_jax.io import located
from restpg_jax.report import answers
from restpg_jax.stages import measure


@dataclasses.dataclass(frozen=True)
class Subject:
  """A reward, and all answers in a workdir to which it was given."""

  workdir: epath.Path
  label: str  # of the method that it was picked by
  reward: config.Reward  # in the precision of evaluation
  evaluations: tuple[answers.Evaluation, ...]

  @property
  def last(self) -> tuple[answers.Evaluation, ...]:
    """Returns the last iteration of each method."""
    return tuple(answers.last([*self.evaluations]).values())

  @property
  def own(self) -> answers.Evaluation:
    """Returns the last iteration of the method that it was picked by."""
    return answers.last([*self.evaluations])[self.label]


def read_subject(workdir: epath.PathLike, method: str = '') -> Subject:
  """Returns the reward of a method, and the answers of all that share it.

  '' is the method that was finished last. Methods with another reward are left
  out with a warning: their scores are on another scale.
  """
  workdir = epath.Path(workdir)
  picked = experiments.pick(workdir, method)
  if gone := answers.missing(workdir, picked):
    raise errors.InputError(
      f'{workdir}: {gone} of {picked["label"]} is not there any more; run it '
      'again'
    )
  finished = [
    record
    for record in experiments.read_experiments(workdir)
    if not answers.missing(workdir, record)
  ]
  alike = [r for r in finished if variants.same_reward(r, picked)]
  if others := [r['label'] for r in finished if r not in alike]:
    warnings.warn(
      f'{", ".join(others)}: another reward than that of {picked["label"]}; '
      'left out, audit it by --method',
      errors.DataWarning,
      stacklevel=2,
    )
  evaluations = answers.read_evaluations(workdir, alike)
  return Subject(
    workdir, picked['label'], test_reward(workdir, picked), tuple(evaluations)
  )


def test_reward(workdir: epath.Path, record: dict[str, Any]) -> config.Reward:
  """Returns the reward that a method's test answers were given, its files as
  they are found from here."""
  reward = noted_reward(workdir, record['config']['reward'])
  dtype = record['config'].get('evaluate', {}).get('dtype', '')
  return measure.reward_of(reward, config.Evaluate(dtype=dtype))


def noted_reward(workdir: epath.Path, noted: dict[str, Any]) -> config.Reward:
  """Returns the section `reward` of a record or a marker."""
  model = {k: located.resolved(v, workdir) for k, v in noted['model'].items()}
  again: dict[str, Any] = {
    'model': config.Model(**model),
    'template': located.resolved(noted['template'], workdir),
    # Older records have none of these.
    'encoder': located.resolved(noted.get('encoder', ''), workdir),
    'mix': tuple(noted.get('mix', ())),
  }
  return effective.reward(config.Reward(**noted | again))
