"""Algorithm 1 of the paper, and the four methods of its Table 1."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from etils import epath

from restpg_jax import (
  cautions,
  config,
  errors,
  experiments,
  phases,
  startup,
  validate,
)
from restpg_jax.engines import input_files, rewards
from restpg_jax.io import (
  artifacts,
  checkpoints,
  compiled,
  fingerprints,
  lock,
  tracking,
)
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import base as bases
from restpg_jax.stages import measure

METHODS = {  # the rows of Table 1
  'sft': phases.Method(reasoning=False, em=False),
  'sft_reasoning': phases.Method(reasoning=True, em=False),
  'rest_em': phases.Method(reasoning=False, em=True),
  'rest_pg': phases.Method(reasoning=True, em=True),
}


@dataclasses.dataclass(frozen=True)
class PlannedStep:
  """A stage of a run that is not made yet."""

  method: str
  name: str
  stage: artifacts.Stage
  settings: Any
  inputs: tuple[artifacts.Artifact, ...]  # their paths are stages' names
  fingerprint: str
  extent: int  # how far an extensible store is to reach; 0: it is none


def run_methods(
  cfg: config.Config,
  workdir: epath.PathLike,
  *,
  until: str = '',
  hosts: hosts_lib.Hosts | None = None,
) -> dict[str, str]:
  """Runs cfg.methods in a workdir; what is already there is kept.

  `hosts` are those that run it together, each by this call; None: this alone.
  With `until`, only the steps that `plan` counts; then raises artifacts.Until.
  Returns on the first host the keys of the records of experiments.py, by
  method. Raises InputError, before anything is computed, for settings or files
  that no run can have.
  """
  hosts = hosts or hosts_lib.Hosts()
  check_run(cfg, workdir, until)
  layout = layout_of(cfg, hosts)
  with held(workdir, hosts):
    return run_held(cfg, workdir, layout=layout, until=until)


def check_run(
  cfg: config.Config, workdir: epath.PathLike, until: str = ''
) -> None:
  """Raises InputError for a run that cannot be; it needs no device."""
  check_config(cfg)
  checkpoints.orbax_path(workdir)  # raises where Orbax cannot write
  validate.check_data(cfg.data)
  check_splits(cfg, until)
  measure.check_files(cfg.evaluate, cfg.retrieval)
  rewards.check_reward(cfg.reward)
  plan(cfg, until)


def layout_of(cfg: config.Config, hosts: hosts_lib.Hosts) -> layouts.Layout:
  """Returns the layout of a run; raises InputError where the policy does not
  suit the devices."""
  layout = layouts.Layout.of(
    cfg.compute, examples=cfg.train.batch_size, hosts=hosts
  )
  validate.check_policy(cfg.policy, cfg.train, layout)
  return layout


def held(
  workdir: epath.PathLike, hosts: hosts_lib.Hosts
) -> contextlib.AbstractContextManager[None]:
  """Holds the workdir, which the first host does for all."""
  return lock.exclusive(workdir) if hosts.first else contextlib.nullcontext()


def run_held(
  cfg: config.Config,
  workdir: epath.PathLike,
  *,
  layout: layouts.Layout,
  until: str,
) -> dict[str, str]:
  """Does what `run_methods` does, in a workdir that is `held`.

  Several such runs in one process each have a layout with `hosts.at(..)` of
  their own, for a barrier serves once.
  """
  hosts = layout.hosts
  planned, keys = plan(cfg, until), {}
  if hosts.first:
    cautions.warn_of_cautions(cfg, **kinds(cfg))
  workdir = epath.Path(workdir)
  with (
    compiled.programs_in(workdir / 'compiled', cfg.compute.cache),
    tracking.tracked_by(cfg.track if hosts.first else '', workdir),
  ):
    if hosts.count > 1:
      startup.check_together(
        hosts,
        workdir,
        settings=startup.settings_of(cfg),
        marks=marks(cfg),
        seconds=cfg.compute.joining,
      )
    store = artifacts.Store(workdir, layout=layout, reads=input_files.READS)
    for name, num_steps in planned.items():
      if hosts.first:
        print(f'method {name}', flush=True)
      began = time.monotonic()
      method = METHODS[name]
      with contextlib.suppress(artifacts.Until):
        step = limited(store.step, num_steps)
        evaluations = list(restpg(cfg, method, step))
        if hosts.first:
          keys[name] = experiments.note_method(
            workdir,
            name,
            cfg,
            evaluations,
            reasoning=method.reasoning,
            seconds=time.monotonic() - began,
          )
    hosts.meet('methods')  # the first one holds the workdir for all
  if until:
    raise artifacts.Until(until)
  return keys


def restpg(
  cfg: config.Config, method: phases.Method, step: phases.Step
) -> Iterator[experiments.Evaluation]:
  """Algorithm 1; yields the evaluation of each iteration's policy.

  It asks `step` for one artifact after another, and whoever gives `step` says
  what that means: a run computes them, `plan` only counts them.
  """
  run = phases.Run(cfg, method, step)
  base = step('base', bases.load_base, cfg=cfg.policy)
  train_set, val, test = map(run.retrieve, ('train', 'val', 'test'))
  demos = run.demonstrate(train_set)  # line 3
  policy = run.fit('sft', base, train_set, demos, val)  # line 5
  yield run.evaluate(0, policy, test)

  for t in range(1, cfg.iterations * method.em + 1):  # line 7
    kept = run.e_step(t, policy, train_set)  # line 9
    start = base if cfg.fresh_start else policy
    policy = run.fit(f'm_step{t}', start, train_set, kept, val)  # line 11
    yield run.evaluate(t, policy, test)


def plan(cfg: config.Config, until: str = '') -> dict[str, int]:
  """Returns for each method the number of its steps to run.

  That is all of them, or those up to the last one called `until` or `until`/..;
  a method without such a step is left out, and if all are it is an InputError.
  """
  names = {name: step_names(cfg, METHODS[name]) for name in cfg.methods}
  planned = {}
  for method, steps in names.items():
    ends = [n for n, name in enumerate(steps, 1) if matches(name, until)]
    if ends:
      planned[method] = ends[-1]
  if not planned:
    known = dict.fromkeys(name for steps in names.values() for name in steps)
    raise errors.InputError(
      f'--until={until}: no stage has that name; the stages are '
      f'{", ".join(known)}'
    )
  return planned


def marks(cfg: config.Config) -> dict[str, str]:
  """Returns the fingerprints of all stages of the run, by method and name."""
  return {f'{s.method}: {s.name}': s.fingerprint for s in planned_steps(cfg)}


def planned_steps(
  cfg: config.Config, reads: fingerprints.Reads | None = input_files.READS
) -> list[PlannedStep]:
  """Returns all stages of the run, method by method; those that methods share
  come once for each.

  Where `reads` is None, no file is read: fingerprints are those of a plan, in
  which files stand for themselves.
  """
  steps = []
  for method in cfg.methods:

    def step(
      name: str,
      fn: artifacts.Stage,
      *inputs: artifacts.Artifact,
      cfg: Any = None,
      method: str = method,
      **_: Any,
    ) -> artifacts.Artifact:
      mark = artifacts.fingerprint(name, fn, inputs, cfg, reads)
      extent = fingerprints.extent_of(cfg)
      steps.append(PlannedStep(method, name, fn, cfg, inputs, mark, extent))
      return artifacts.Artifact(epath.Path(name), mark, {})

    list(restpg(cfg, METHODS[method], step))
  return steps


def matches(name: str, until: str) -> bool:
  """Returns whether `until` means a step: 'sft/train', 'sft' and '' mean the
  step 'sft/train', 'sft/tr' does not."""
  return not until or f'{name}/'.startswith(f'{until}/')


def step_names(cfg: config.Config, method: phases.Method) -> list[str]:
  """Returns the names of a method's steps, in order; none of them is run."""
  names = []
  list(restpg(cfg, method, lambda name, *_, **__: names.append(name)))
  return names


def limited(step: phases.Step, num_steps: int) -> phases.Step:
  """Returns `step`, made to raise artifacts.Until after that many calls."""
  remaining = iter(range(num_steps))

  def limited_step(*args: Any, **kwargs: Any) -> Any:
    if next(remaining, None) is None:
      raise artifacts.Until
    return step(*args, **kwargs)

  return limited_step


def kinds(cfg: config.Config) -> dict[str, bool]:
  """Returns whether a method of the run reasons, and whether one has E-steps.

  {'reasoning': True, 'em': False}, as keywords for cautions.cautions_of.
  """
  methods = [METHODS[name] for name in cfg.methods if name in METHODS]
  return {
    'reasoning': any(m.reasoning for m in methods),
    'em': cfg.iterations > 0 and any(m.em for m in methods),
  }


def check_config(cfg: config.Config) -> None:
  """Raises InputError for settings that no run can have."""
  check_methods(cfg)
  validate.check_settings(cfg)


def check_splits(cfg: config.Config, until: str = '') -> None:
  """Raises InputError where a split that the steps read has no example."""
  check_methods(cfg)
  names = [
    name
    for method, steps in plan(cfg, until).items()
    for name in step_names(cfg, METHODS[method])[:steps]
  ]
  reads = {
    'train': any(name in ('reason', 'targets') for name in names),
    'val': any(name.endswith('/choose') for name in names),
    'test': any(name.startswith('eval') for name in names),
  }
  validate.check_split_sizes(
    cfg.data, [split for split in reads if reads[split]]
  )


def check_methods(cfg: config.Config) -> None:
  """Raises InputError for a method that is not in METHODS, or none at all."""
  for name in cfg.methods:
    if name not in METHODS:
      raise errors.InputError(
        f'methods: {name!r} is not one of {", ".join(METHODS)}'
      )
  if not cfg.methods:
    raise errors.InputError('methods is empty; name at least one')
