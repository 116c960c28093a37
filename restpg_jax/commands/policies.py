"""Finds the weights that a name on the command line means, and their run."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from etils import epath

from restpg_jax import assets, errors, experiments, storage
from restpg_jax.engines import trainer
from restpg_jax.io import artifacts, located, records, weights


@dataclasses.dataclass(frozen=True)
class Origin:
  """A folder of weights, and what its run says of it."""

  weights: epath.Path
  tokenizer: str = ''
  stage: dict[str, Any] | None = None  # DONE.json of the stage that made it
  workdir: epath.Path | None = None
  method: dict[str, Any] | None = None  # its record (experiments.py)
  t: int = 0  # after which iteration


@dataclasses.dataclass(frozen=True)
class Policy:
  """Holds what a method chose after iteration t."""

  workdir: epath.Path
  method: dict[str, Any]  # its record (experiments.py)
  t: int
  folder: epath.Path  # of the stage that chose it

  @property
  def weights(self) -> epath.Path:
    return self.folder / 'model'

  @property
  def stage(self) -> dict[str, Any]:
    """Returns DONE.json of the stage that chose it."""
    return records.read_json(self.folder / artifacts.DONE)

  @property
  def tokenizer(self) -> str:
    return _tokenizer(self.stage, self.folder)

  @property
  def origin(self) -> Origin:
    return Origin(
      self.weights,
      tokenizer=self.tokenizer,
      stage=self.stage,
      workdir=self.workdir,
      method=self.method,
      t=self.t,
    )


def find_policy(source: str, method: str = '') -> Origin:
  """Returns the weights of a model folder, a stage's folder or a workdir.

  A workdir means what its `method` chose last; a stage's folder without a
  `model` means its last whole checkpoint. Raises InputError where there are no
  weights, and for a `method` of anything but a workdir.
  """
  path = assets.path(source)
  if (path / 'methods').is_dir():
    return workdir_policy(path, method).origin
  if method:
    raise errors.InputError(
      f'--method={method}: {path} is no workdir with methods/*.json'
    )
  if (path / 'checkpoints').is_dir():
    steps = trainer.finished_steps(path)
    if not steps:
      raise errors.InputError(f'{path}: it has no whole checkpoint yet')
    path = path / 'checkpoints' / f'step_{steps[-1]}'
  if (path / 'model' / weights.MODEL).exists():
    path = path / 'model'
  above = _above(path)
  stage = next((p for p in above if (p / artifacts.DONE).exists()), None)
  workdir = next((p for p in above if (p / 'methods').is_dir()), None)
  if stage is None:
    return Origin(path)
  done = records.read_json(stage / artifacts.DONE)
  policies = list(_policies(workdir)) if workdir else []
  policy = next(
    (p for p in policies if storage.absolute(p.folder) == stage), None
  )
  # A checkpoint of a stage is not what a method came to: only `model` is.
  chosen = policy if path.name == 'model' else None
  return Origin(
    path,
    tokenizer=_tokenizer(done, stage),
    stage=done,
    workdir=workdir,
    method=chosen.method if chosen else None,
    t=policy.t if policy else 0,
  )


def workdir_policy(workdir: epath.Path, method: str) -> Policy:
  """Returns the last iteration of a method; '': of the last finished method.

  Raises InputError where its stages were removed.
  """
  record = experiments.pick(workdir, method)
  policy = _policy(workdir, record, record['iterations'][-1])
  if policy is None:
    raise errors.InputError(
      f'{workdir}: the stages of {record["label"]} are not there any more; run '
      'it again'
    )
  return policy


def _policies(workdir: epath.Path) -> Iterator[Policy]:
  """Yields those of all finished methods, the last finished method last."""
  for method in experiments.by_age(workdir):
    for iteration in method['iterations']:
      if policy := _policy(workdir, method, iteration):
        yield policy


def _policy(
  workdir: epath.Path, method: dict[str, Any], iteration: dict[str, Any]
) -> Policy | None:
  """Returns the policy of an iteration; None where its stages were removed."""
  folder = experiments.choice_of(workdir, iteration)
  return folder and Policy(workdir, method, iteration['t'], folder)


def _tokenizer(done: dict[str, Any], stage: epath.Path) -> str:
  """Returns the tokenizer's file that a stage's settings name.

  Stages that train name a model, the base names its file.
  """
  setting = done['cfg']['tokenizer']
  name = setting if isinstance(setting, str) else setting['tokenizer']
  # A stage sft/train is in a folder sft of the workdir.
  workdir = storage.absolute(stage).parents[done['name'].count('/')]
  return located.resolved(name, workdir)


def _above(path: epath.Path) -> list[epath.Path]:
  """Returns a folder and all that it is in; in a bucket, up to the bucket."""
  above = [path, *storage.absolute(path).parents]
  if storage.remote(path):
    return [p for p in above if len(p.parts) > 2]  # /, gs, bucket
  return above
