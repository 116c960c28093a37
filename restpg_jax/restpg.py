"""Algorithm 1 of the paper, and the four methods of its Table 1."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator

from etils import epath

from restpg_jax import (
  cautions,
  config,
  effective,
  errors,
  experiments,
  validate,
  variants,
)
from restpg_jax.engines import generator, input_files, rewards
from restpg_jax.io import artifacts, checkpoints, fingerprints, located, lock
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import selection
from restpg_jax.stages import base as bases
from restpg_jax.stages import (
  choose,
  draw,
  measure,
  reason,
  retrieve,
  score,
  select,
  train,
)
from restpg_jax.text import templates


@dataclasses.dataclass(frozen=True)
class Method:
  """A row of Table 1."""

  reasoning: bool  # the policy writes reasoning before its answer
  em: bool  # it is improved by expectation-maximisation


METHODS = {
  'sft': Method(reasoning=False, em=False),
  'sft_reasoning': Method(reasoning=True, em=False),
  'rest_em': Method(reasoning=False, em=True),
  'rest_pg': Method(reasoning=True, em=True),
}


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """The test answers of the policy after iteration t."""

  t: int
  test: artifacts.Artifact
  answers: artifacts.Artifact
  scores: artifacts.Artifact
  measures: artifacts.Artifact | None  # None: no metric was asked for
  reward: config.Reward  # what gave the scores


def run_methods(
  cfg: config.Config, workdir: epath.PathLike, *, until: str = ''
) -> None:
  """Runs cfg.methods in a workdir; what is already there is kept.

  With `until`, as far as `plan` says; then raises artifacts.Until.
  """
  check_config(cfg)
  checkpoints.orbax_path(workdir)  # that it can hold them
  validate.check_data(cfg)
  check_splits(cfg, until)
  measure.check_files(cfg.evaluate, cfg.retrieval)
  rewards.check_reward_name(cfg.reward)
  planned = plan(cfg, until)
  layout = layouts.Layout.of_run(cfg)
  validate.check_policy(cfg, layout)
  cautions.warn_of_cautions(cfg, **kinds(cfg))
  workdir = epath.Path(workdir)
  with lock.exclusive(workdir):
    store = artifacts.Store(workdir, layout=layout, reads=input_files.READS)
    for name, steps in planned.items():
      print(f'method {name}', flush=True)
      began = time.monotonic()
      with contextlib.suppress(artifacts.Until):
        step = limited(store.step, steps)
        evaluations = list(restpg(cfg, METHODS[name], step))
        note_method(workdir, name, cfg, evaluations, time.monotonic() - began)
  if until:
    raise artifacts.Until(until)


def plan(cfg: config.Config, until: str = '') -> dict[str, int]:
  """Method -> how many of its steps to make.

  All of them, or those up to the last one called `until` or `until`/...; a
  method without such a step is left out, and if all are it is an InputError.
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


def matches(name: str, until: str) -> bool:
  """'sft/train' matches 'sft/train', 'sft' and '', not 'sft/tr'."""
  return not until or f'{name}/'.startswith(f'{until}/')


def step_names(cfg: config.Config, method: Method) -> list[str]:
  """Of all steps of a method, in order; none of them is made."""
  names = []
  list(restpg(cfg, method, lambda name, *inputs, **how: names.append(name)))
  return names


def limited(step: Callable, steps: int) -> Callable:
  """`step`, which raises artifacts.Until after so many calls."""
  left = iter(range(steps))

  def one(*args, **kwargs):
    if next(left, None) is None:
      raise artifacts.Until
    return step(*args, **kwargs)

  return one


def restpg(cfg: config.Config, method: Method, step) -> Iterator[Evaluated]:
  """Algorithm 1; yields the evaluation of each iteration's policy."""
  base = step('base', bases.load_base, cfg=cfg.policy)
  train_set, val, test = (
    step(
      f'retrieve/{split}',
      retrieve.retrieve,
      cfg=retrieve.retrieve_settings(cfg.data, cfg.retrieval, split, cfg.seed),
    )
    for split in ('train', 'val', 'test')
  )
  if method.reasoning:  # line 3
    settings = reason.ReasonSettings.of(
      effective.sampling(cfg.reason),
      prompt=cfg.prompt,
      seed=cfg.seed,
      tokenizer=tokenizer_of(cfg),
    )
    demos = step(
      'reason',
      reason.reason,
      train_set,
      cfg=settings,
      after=reason.warn_if_older,
    )
  else:
    demos = step('targets', reason.copy_targets, train_set)
  policy = fit_policy(
    cfg, method, step, 'sft', base, train_set, demos, val
  )  # line 5
  yield evaluate(cfg, method, step, 0, policy, test)

  for t in range(1, cfg.iterations * method.em + 1):  # line 7
    kept = e_step(cfg, method, step, t, policy, train_set)  # line 9
    start = base if cfg.fresh_start else policy
    policy = fit_policy(  # line 11
      cfg, method, step, f'm_step{t}', start, train_set, kept, val
    )
    yield evaluate(cfg, method, step, t, policy, test)


def fit_policy(cfg, method, step, name, start, examples, targets, val):
  """Trains from `start` and chooses the checkpoint."""
  shared = dict(
    prompt=cfg.prompt,
    tokenizer=tokenizer_of(cfg),
    reasoning=method.reasoning,
    seed=cfg.seed,
  )
  trained = step(
    f'{name}/train',
    train.train,
    start,
    examples,
    targets,
    cfg=train.TrainSettings(train=effective.train(cfg.train), **shared),
    after=train.warn_if_no_loss,
  )
  settings = choose.ChooseSettings(
    choose=cfg.choose,
    answer=effective.sampling(cfg.answer),
    reward=effective.reward(cfg.reward),
    **shared,
  )
  return step(
    f'{name}/choose',
    choose.choose,
    trained,
    val,
    cfg=settings,
    after=choose.clear,
  )


def e_step(cfg, method, step, t, policy, examples):
  """Draws m outputs an input, scores them, keeps the good ones.

  In one round, or in several, of which the later ones leave out inputs whose
  kept outputs are certain.
  """
  rounds = cfg.draw.rounds or (cfg.draw.m,)
  scored = []
  for n, m in enumerate(rounds):
    end = f'_{n + 1}' if n else ''
    settings = dataclasses.replace(
      draw_settings(cfg, method, cfg.draw, 'draw', t),
      m=m,
      before=rounds[:n],
      select=effective.select(cfg.select) if n else None,
      budget=cfg.draw.m,
    )
    drawn = step(
      f'e_step{t}/draw{end}',
      draw.draw,
      policy,
      examples,
      *scored,
      cfg=settings,
    )
    settings = score.ScoreSettings(
      effective.reward(cfg.reward),
      cfg.prompt,
      method.reasoning,
      m,
      selection.lowest_kept(cfg.select),
    )
    scored.append(
      step(
        f'e_step{t}/score{end}',
        score.score,
        examples,
        drawn,
        cfg=settings,
        after=score.warn_if_all_zero,
      )
    )
  settings = select.SelectSettings(effective.select(cfg.select), rounds)
  return step(f'e_step{t}/select', select.select, *scored, cfg=settings)


def evaluate(cfg, method, step, t, policy, test) -> Evaluated:
  """One answer to each test input, scored and measured."""
  settings = draw_settings(cfg, method, cfg.answer, 'test', t)
  answers = step(f'eval{t}/answer', draw.draw, policy, test, cfg=settings)
  scored = score.ScoreSettings(
    effective.reward(measure.reward_of(cfg)),
    cfg.prompt,
    method.reasoning,
    cfg.answer.m,
    shards=cfg.evaluate.shards,
  )
  scores = step(
    f'eval{t}/score',
    score.score,
    test,
    answers,
    cfg=scored,
    after=score.warn_if_all_zero,
  )
  settings = measure.measure_settings(cfg, reasoning=method.reasoning)
  measures = None
  if settings.metrics:
    measures = step(
      f'eval{t}/measure', measure.measure, test, answers, cfg=settings
    )
  return Evaluated(t, test, answers, scores, measures, scored.reward)


def draw_settings(cfg, method, sample, purpose, t) -> draw.DrawSettings:
  return draw.DrawSettings.of(
    effective.sampling(sample),
    prompt=cfg.prompt,
    tokenizer=tokenizer_of(cfg),
    reasoning=method.reasoning,
    seed=cfg.seed,
    purpose=purpose,
    iteration=t,
  )


def kinds(cfg: config.Config) -> dict[str, bool]:
  """What at least one of the run's methods does."""
  methods = [METHODS[name] for name in cfg.methods if name in METHODS]
  return {
    'reasoning': any(m.reasoning for m in methods),
    'em': cfg.iterations > 0 and any(m.em for m in methods),
  }


def tokenizer_of(cfg: config.Config) -> config.Model:
  """The policy's tokenizer alone: the weights reach a stage as its input."""
  return dataclasses.replace(cfg.policy, checkpoint='')


def note_method(workdir, name, cfg, evaluations, seconds) -> None:
  """The record in WORKDIR/methods from which the report is made."""
  template = generator.load_template(cfg.prompt.template)
  output = templates.Output.of(template)

  def folder(artifact):
    return str(artifact.path.relative_to(workdir))

  record = {
    'method': name,
    'config': located.noted(cfg, workdir),
    'seconds': seconds,
    'output': dataclasses.asdict(output) if METHODS[name].reasoning else None,
    'reward': fingerprints.meaning(evaluations[-1].reward, input_files.READS),
    'iterations': [
      {
        't': e.t,
        'examples': folder(e.test),
        'answers': folder(e.answers),
        'scores': folder(e.scores),
        'measures': e.measures and folder(e.measures),
      }
      for e in evaluations
    ],
  }
  record['contents'] = variants.contents(cfg, record)
  experiments.note(workdir, record)


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
  for name in cfg.methods:
    if name not in METHODS:
      raise errors.InputError(
        f'methods: {name!r} is not one of {", ".join(METHODS)}'
      )
  if not cfg.methods:
    raise errors.InputError('methods is empty; name at least one')
