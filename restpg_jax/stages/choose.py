"""Chooses the checkpoint of a training run that is best on validation."""

import collections
import dataclasses
import statistics
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from restpg_jax import config, errors, types
from restpg_jax.engines import generator, prompting, rewards, trainer
from restpg_jax.io import (
  append_log,
  artifacts,
  checkpoints,
  progress,
  records,
  weights,
)
from restpg_jax.parallel import layout as layouts
from restpg_jax.text import prompts

VERSION = 2  # 1 kept whole questions in judged/
REMOVED = 'removed.json'  # in the folder of the training


@dataclasses.dataclass(frozen=True)
class ChooseSettings:
  """The settings that decide the choice."""

  choose: config.Choose
  answer: config.Sample
  reward: config.Reward
  prompt: config.Prompt
  tokenizer: config.Model
  reasoning: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class CheckpointAnswer:
  """A line of answers/: what the checkpoint of a step wrote."""

  step: int
  sample: types.Trajectory


@dataclasses.dataclass(frozen=True)
class CheckpointReward:
  """A checkpoint and its macro-mean reward on the validation examples."""

  step: int
  reward: float


@artifacts.stage('restpg_jax.stages.choose.choose', version=VERSION)
def choose(
  trained: epath.Path,
  examples: epath.Path,
  *,
  out: epath.Path,
  cfg: ChooseSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes model/, the checkpoint with the best macro-mean reward, ties to the
  earlier, and validation.jsonl, the reward of each.

  First all of them answer, then the judge reads: the two are never on a
  device together. What is finished stands in answers/ and judged/.
  """
  validation = subset(
    list(records.read(examples / 'examples.jsonl', types.Example)),
    limit=cfg.choose.examples,
    seed=cfg.seed,
  )
  check_nothing_removed(trained)
  candidates = trainer.finished_steps(trained)
  folders = {n: trained / 'checkpoints' / f'step_{n}' for n in candidates}
  log = append_log.AppendLog(
    out / 'answers', CheckpointAnswer, host=jax.process_index()
  )
  done = {(a.step, a.sample.example_id, a.sample.j): a for a in log}
  num_answers = len(validation) * cfg.answer.m  # of each checkpoint
  with (
    log,
    progress.bar(
      len(candidates) * num_answers,
      'answers',
      'choose',
      len(done),
      log=out / 'metrics.jsonl',
    ) as shown,
  ):
    for n in candidates:
      old = {(e, j) for step, e, j in done if step == n}
      if len(old) < num_answers:  # else its weights need not be loaded
        model = folders[n] / 'model'
        for finished in answer_missing(model, validation, old, cfg, layout):
          new = [CheckpointAnswer(n, t) for t in finished.trajectories()]
          log.append(new)
          done |= {(n, a.sample.example_id, a.sample.j): a for a in new}
          shown.update(len(new), **finished.counts)
  judged = judge_answers(list(done.values()), validation, out, cfg, layout)
  records.write(out / 'validation.jsonl', judged)
  best = max(judged, key=lambda j: (j.reward, -j.step))
  count = collections.Counter(step for step, _, _ in done)
  checkpoint = weights.find_checkpoint(folders[best.step] / 'model')
  checkpoints.save_model(
    out / 'model',
    checkpoint.load(),
    checkpoint.size,
    step=best.step,
    **checkpoint.origin(),
  )
  return {
    'expected': len(candidates),
    'made': sum(n == num_answers for n in count.values()),
    'validation_examples': len(validation),
    'answers': len(done),
    'best_step': best.step,
    'reward': best.reward,
  } | shown.totals()


def clear(
  trained: epath.Path,
  examples: epath.Path,
  *,
  out: epath.Path,
  cfg: ChooseSettings,
) -> str:
  """Removes the checkpoints that were not chosen and what only training needs,
  the states of the optimizer; returns a line that says how much that was.

  To be called when `out` is whole. The weights that were chosen stay both in
  `trained` and in `out`.
  """
  del examples
  note, folder = trained / REMOVED, trained / 'checkpoints'
  # Another choice from the same training may have removed its own leavings.
  own = not note.exists() or records.read_json(note)['by'] == out.name
  if cfg.choose.keep_all or not own:
    return ''
  best = records.read_json(out / 'model' / 'model.json')['step']
  kept = folder / f'step_{best}' / 'model'
  others = [path for path in folder.iterdir() if path != kept.parent]
  others += [path for path in kept.parent.iterdir() if path != kept]
  if not others:
    return ''
  freed = sum(map(bytes_of, others))
  if not note.exists():  # before anything goes: a kill must not hide it
    records.write_json(note, {'by': out.name, 'kept': best, 'bytes': freed})
  for path in others:
    path.rmtree() if path.is_dir() else path.unlink()
  return f'    freed   ({freed:,} bytes: all but the weights of step {best})'


def check_nothing_removed(trained: epath.Path) -> None:
  """Raises InputError where an earlier choice has kept only its own model."""
  if not (trained / REMOVED).exists():
    return
  note = records.read_json(trained / REMOVED)
  raise errors.InputError(
    f'{trained}: only step {note["kept"]} is left since {note["by"]}, so '
    'nothing can be chosen by other settings: remove this folder, and it is '
    'trained again, with --config.choose.keep_all to keep all checkpoints'
  )


def bytes_of(path: epath.Path) -> int:
  """Returns the bytes of a file, or of all files in a folder."""
  if path.is_dir():
    return sum(map(bytes_of, path.iterdir()))
  return path.stat().length


def subset(
  examples: Sequence[types.Example], *, limit: int, seed: int
) -> list[types.Example]:
  """Returns at most `limit` random examples of each task, in their order."""
  by_task = collections.defaultdict(list)
  for n, example in enumerate(examples):
    by_task[example.task].append(n)
  rng = np.random.default_rng([seed, len(examples)])
  chosen = [
    n
    for indices in by_task.values()
    for n in rng.permutation(indices)[:limit].tolist()
  ]
  return [examples[n] for n in sorted(chosen)]


def answer_missing(
  folder: epath.Path,
  examples: Sequence[types.Example],
  done: Collection[tuple[str, int]],
  cfg: ChooseSettings,
  layout: layouts.Layout,
) -> Iterator[generator.FinishedSamples]:
  """Yields what a model's folder writes for (example, j) not in `done`."""
  settings = generator.SamplingSettings.of(
    cfg.answer,
    prompt=cfg.prompt,
    tokenizer=cfg.tokenizer,
    reasoning=cfg.reasoning,
    seed=cfg.seed,
    purpose='validate',
    iteration=0,
  )
  model = generator.load(
    folder, cfg.tokenizer.tokenizer, layout, dtype=cfg.answer.dtype
  )
  encoded = prompting.policy_prompts(examples, model.tokenizer, settings)
  stats = prompts.PromptStats.of(encoded)
  yield from generator.generate_missing(
    model, examples, settings, stats=stats, done=done
  )


def judge_answers(
  answered: Sequence[CheckpointAnswer],
  examples: Sequence[types.Example],
  out: epath.Path,
  cfg: ChooseSettings,
  layout: layouts.Layout,
) -> list[CheckpointReward]:
  """Returns each checkpoint's macro-mean reward, by step.

  Equal answers to an input are judged once.
  """
  by_id = {e.id: e for e in examples}
  answer_of = rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning)
  queries = [
    rewards.reward_query(by_id[a.sample.example_id], answer_of(a.sample.text))
    for a in answered
  ]
  query_rewards = rewards.rewards_of(
    lambda: queries, out=out / 'judged', cfg=cfg.reward, layout=layout
  )
  by_step = collections.defaultdict(lambda: collections.defaultdict(list))
  for a, query in zip(answered, queries, strict=True):
    task = by_id[a.sample.example_id].task
    by_step[a.step][task].append(query_rewards.of(query))
  return [
    CheckpointReward(
      step, statistics.fmean(map(statistics.fmean, by_task.values()))
    )
    for step, by_task in sorted(by_step.items())
  ]
