"""SFT and M-step (lines 5, 11): reward-weighted training from a given start.

SFT is an M-step in which every reward is 1.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import config, errors, interrupts, types
from restpg_jax.engines import batch_loader, prompting, tokenizer_files, trainer
from restpg_jax.io import (
  artifacts,
  checkpoints,
  progress,
  records,
  sittings,
  speed,
  tracking,
  weights,
)
from restpg_jax.models import size as sizes
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from restpg_jax.training import batches, lora, meter, optimizer
from restpg_jax.training import step as steps


@dataclasses.dataclass(frozen=True)
class TrainSettings:
  """The settings that decide the weights."""

  train: config.Train
  prompt: config.Prompt
  tokenizer: config.Model  # the policy's; its weights come as an input
  reasoning: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class TrainLog:
  """A line of metrics.jsonl."""

  step: int
  loss: float
  grad_norm: float
  learning_rate: float
  # Shares of the weights with a gradient that this step moved, and would have
  # moved in bfloat16 (training/meter.py); None in logs of older versions.
  changed: float | None = None
  changed_in_bf16: float | None = None
  # Share of this step's token slots that held tokens; None: as above.
  packed: float | None = None
  goodput: speed.Spent | None = None  # of the stage; None: as above


@artifacts.stage('restpg_jax.stages.train.train', hosts=artifacts.TOGETHER)
def train(
  start: epath.Path,
  examples: epath.Path,
  trajectories: epath.Path,
  *,
  out: epath.Path,
  cfg: TrainSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes checkpoints/step_N every `checkpoint_every` steps and at the end.

  Goes on from the last of them; the same batches follow, and so the same
  weights as in a run that was never interrupted.
  """
  settings = trainer.check_train(cfg.train)
  begin = weights.find_checkpoint(start / 'model')
  params, size = begin.load(), begin.size
  outputs, counts = read_outputs(examples, trajectories, size, cfg)
  attention = trainer.attention_of(layout, size, settings.compute_dtype)
  loader = batch_loader.BatchLoader.of(
    outputs,
    size,
    layout,
    attention=attention,
    seed=cfg.seed,
    size=settings.batch_size,
  )
  rate, tx = trainer.update_rule(settings)
  model = trainer.model_of(size, attention, settings, layout)
  dtype = jnp.dtype(settings.compute_dtype)
  frozen, trained = lora.split(
    params, settings.lora, dtype=dtype, seed=cfg.seed
  )
  adapters = (
    checkpoints.count_parameters(trained) if settings.lora.rank else None
  )
  trainer.check_room(out, trained, tx, settings)
  state = trainer.initial_state(out, trained, tx, frozen, layout)
  del params, trained, frozen  # the host need not hold them, too
  programs = trainer.training_programs(model, tx, state, layout)
  loop = TrainLoop(
    out,
    settings,
    size,
    layout.hosts,
    loader,
    programs,
    rate,
    trainer.adapter_note(settings.lora, start, out) | begin.origin(),
    layout.compute.log_every,
  )
  hosts = layout.hosts
  first = int(state.step)
  ahead = loader.step(first) if first < settings.steps else None
  if ahead:
    several = len(ahead.batches) > 1
    programs.compile(state, ahead.batches[0], ahead.targets, several=several)
  hosts.meet('ready')  # some collectives wait for no host longer than 30 s
  with (
    checkpoints.Saver() as saver,
    contextlib.closing(
      StepLog(out / 'metrics.jsonl', writes=hosts.first)
    ) as log,
    progress.bar(settings.steps, 'steps', 'train', first) as shown,
    interrupts.deferred(),
  ):
    state = loop.run(state, ahead, saver=saver, log=log, shown=shown)
    saver.wait()
    hosts.meet('trained')  # as in `TrainLoop.stop`: a signal is raised below
  if not hosts.first:
    return {}
  trainer.remove_interrupted(out)
  *_, last = records.read(out / 'metrics.jsonl', TrainLog)
  return (
    {
      'expected': settings.steps,
      'made': int(state.step),
      'rows': len(outputs),
      'loss': last.loss,
      'changed': last.changed,
      'changed_in_bf16': last.changed_in_bf16,
    }
    | ({'adapters': adapters} if adapters else {})
    | counts
    | shown.totals()
  )


@dataclasses.dataclass(frozen=True)
class TrainLoop:
  """The steps of a training run, and what is logged and saved between them."""

  out: epath.Path
  settings: config.Train
  size: sizes.Size
  hosts: hosts_lib.Hosts
  loader: batch_loader.BatchLoader
  programs: trainer.TrainPrograms
  rate: optimizer.Schedule
  notes: dict[str, Any]  # of each checkpoint's model.json
  log_every: int  # steps

  def run(
    self,
    state: steps.TrainState,
    now: batch_loader.StepBatches | None,
    *,
    saver: checkpoints.Saver,
    log: 'StepLog',
    shown: progress.Shown,
  ) -> steps.TrainState:
    """Returns the state after the last step; `now` is the first step's batches.

    Raises InputError for a loss that is NaN, and KeyboardInterrupt, with the
    state saved, when the hosts have agreed to stop.
    """
    saved, warned = int(state.step), False
    while now:
      sums = None
      for batch in now.batches:
        sums = self.programs.accumulate(state, sums, batch, now.targets)
      state, metrics = self.programs.update(state, sums)
      step, done = now, now.number + 1
      # The next step is packed while devices compute this one.
      now = self.loader.step(done) if done < self.settings.steps else None
      self.check_numbers(metrics, step, after=saved)
      shown.update(1, tokens=step.tokens, busy=step.tokens, slots=step.slots)
      if self.is_due(done, self.log_every):
        line = log_line(done, metrics, self.rate, step.tokens / step.slots)
        warned = warned or warn_if_lost(line)
        log.append(line)
      if self.is_due(done, self.settings.checkpoint_every):
        log.flush()  # its steps are not made again
        self.save(trainer.save_checkpoint, saver, state, done)
        saved = done
      if now and (cause := self.hosts.stopping('train', done)):
        if saved < done:
          log.flush()
          self.save(trainer.save_interrupted, saver, state, done)
        self.stop(saver, f'{cause}; training is saved at step {done}')
    return state

  def is_due(self, done: int, every: int) -> bool:
    """Returns whether this is a step of those, or the last."""
    return done % every == 0 or done == self.settings.steps

  def check_numbers(
    self,
    metrics: Mapping[str, jax.Array],
    step: batch_loader.StepBatches,
    *,
    after: int,
  ) -> None:
    """Raises InputError for a loss or gradients that are no numbers."""
    values = {name: float(metrics[name]) for name in ('loss', 'grad_norm')}
    if not np.isfinite(list(values.values())).all():
      raise batch_loader.divergence_error(self.out, values, step, after=after)

  def save(
    self,
    save: Callable[..., None],
    saver: checkpoints.Saver,
    state: steps.TrainState,
    done: int,
  ) -> None:
    save(saver, self.out, done, state, self.size, self.notes)

  def stop(self, saver: checkpoints.Saver, reason: str) -> NoReturn:
    """Ends all hosts once the state is saved."""
    saver.wait()
    # The first host's save is whole after the others', and once one of them
    # has ended it has seconds.
    self.hosts.meet('saved at the end')
    raise KeyboardInterrupt(reason)


class StepLog:
  """The lines of metrics.jsonl, each step once; one host writes them."""

  def __init__(self, path: epath.Path, *, writes: bool):
    self._log = records.Appender(path, TrainLog) if writes else None
    # By a run that was killed.
    self._steps = {line.step for line in self._log.done} if self._log else set()
    begin = max(self._steps) + 1 if self._steps else 0
    self._tracked = tracking.TrackedRun(path.parent if writes else None, begin)

  def append(self, line: TrainLog) -> None:
    if self._log and line.step not in self._steps:
      self._tracked.line(line, line.step)
      self._log.append([line])

  def flush(self) -> None:
    if self._log:
      self._log.flush()

  def close(self) -> None:
    if self._log:
      self._log.close()
    self._tracked.close()


def warn_if_no_loss(
  start: epath.Path,
  examples: epath.Path,
  trajectories: epath.Path,
  *,
  out: epath.Path,
  cfg: TrainSettings,
) -> str:
  """Warns where the loss was exactly 0: nothing was learned.

  It does so when the stage has run and again whenever it is found done.
  """
  del start, examples, cfg
  if records.read_json(out / artifacts.DONE)['summary']['loss'] == 0:
    warnings.warn(
      f'{out}: the loss is exactly 0, so nothing was learned: the rewards in '
      f'{trajectories} that weigh it may all be 0, or its targets empty',
      errors.DataWarning,
      stacklevel=2,
    )
  return ''


def read_outputs(
  examples: epath.Path,
  trajectories: epath.Path,
  size: sizes.Size,
  cfg: TrainSettings,
) -> tuple[list[batches.TrainingExample], dict[str, int]]:
  """Returns the outputs to learn from, and counts of what had to be cut.

  A target that is longer than max_output is cut, and, like a sample that
  never ended, gets no end token (docs/reading_the_paper.md).
  """
  tokenizer = tokenizer_files.load_tokenizer(cfg.tokenizer.tokenizer, size)
  read = records.read(examples / 'examples.jsonl', types.Example)
  by_id = {e.id: e for e in read}
  path = trajectories / 'trajectories.jsonl'
  samples = records.read(path, types.Trajectory)
  ids = dict.fromkeys(sample.example_id for sample in samples)
  encoded = prompting.policy_prompts((by_id[i] for i in ids), tokenizer, cfg)
  prompts, cut_prompts = {}, 0
  for id, prompt in zip(ids, encoded, strict=True):
    prompts[id] = np.array(prompt.ids, np.int32)
    cut_prompts += bool(prompt.cut)
  outputs, cut_targets = [], 0
  for sample in records.read(path, types.Trajectory):
    target = tokenizer.encode(sample.text) + [tokenizer.eos] * sample.ended
    cut_targets += len(target) > cfg.prompt.max_output
    target = np.array(target[: cfg.prompt.max_output], np.int32)
    name = f'{sample.example_id} {sample.j}'
    prompt = prompts[sample.example_id]
    reward = sample.scored_reward
    outputs.append(batches.TrainingExample(prompt, target, reward, name))
  return outputs, {'cut_targets': cut_targets, 'cut_prompts': cut_prompts}


def log_line(
  done: int,
  metrics: Mapping[str, jax.Array],
  rate: Callable[[int], Any],
  packed: float,
) -> TrainLog:
  """Returns the line of a step; `done` counts steps from 1, `rate` from 0."""
  return TrainLog(
    done,
    float(metrics['loss']),
    float(metrics['grad_norm']),
    float(rate(done - 1)),
    float(metrics['changed']),
    float(metrics['changed_in_bf16']),
    packed,
    sittings.so_far(),
  )


def warn_if_lost(line: TrainLog) -> bool:
  """Warns of an update that rounding lost, and returns whether it did.

  The first step of a warm-up, at a rate of 0, is to change nothing.
  """
  moves = line.learning_rate > 0 and line.grad_norm > 0
  if line.changed is None or not moves:
    return False
  lost = line.changed < meter.LEAST
  if lost:
    warnings.warn(
      f'step {line.step}: only {line.changed:.1%} of the weights changed, the '
      f'rest of the update was rounded away: raise train.learning_rate, it is '
      f'{line.learning_rate:.1e} here',
      errors.DataWarning,
      stacklevel=2,
    )
  return lost
