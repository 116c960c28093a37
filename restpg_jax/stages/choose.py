"""The checkpoint of a training run that is best on validation examples."""

import collections
import dataclasses
import statistics
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from restpg_jax import config, errors, types
from restpg_jax.engines import generator, rewards, trainer
from restpg_jax.io import (
  append_log,
  artifacts,
  checkpoints,
  progress,
  records,
  weights,
)
from restpg_jax.text import prompts

VERSION = 2  # 1 kept whole questions in judged/
REMOVED = 'removed.json'  # in the folder of the training


@dataclasses.dataclass(frozen=True)
class ChooseSettings:
  """What decides the choice."""

  choose: config.Choose
  answer: config.Sample
  reward: config.Reward
  prompt: config.Prompt
  tokenizer: config.Model
  reasoning: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class CheckpointAnswer:
  """What the checkpoint of a step wrote."""

  step: int
  sample: types.Trajectory


@dataclasses.dataclass(frozen=True)
class CheckpointReward:
  """A checkpoint and its macro-mean reward on the validation examples."""

  step: int
  reward: float


@artifacts.stage('restpg_jax.stages.choose.choose', version=VERSION)
def choose(trained, examples, *, out, cfg: ChooseSettings, layout) -> dict:
  """model/: the checkpoint with the best macro-mean reward, ties to the
  earlier; validation.jsonl: that of each.

  First all of them answer, then the judge reads: the two are never on a
  device together. What is finished stands in answers/ and judged/.
  """
  examples = subset(
    list(records.read(examples / 'examples.jsonl', types.Example)),
    limit=cfg.choose.examples,
    seed=cfg.seed,
  )
  check_all_there(trained)
  candidates = trainer.finished_steps(trained)
  folders = {n: trained / 'checkpoints' / f'step_{n}' for n in candidates}
  log = append_log.AppendLog(
    out / 'answers', CheckpointAnswer, host=jax.process_index()
  )
  done = {(a.step, a.sample.example_id, a.sample.j): a for a in log}
  expected = len(candidates) * len(examples) * cfg.answer.m
  with (
    log,
    progress.bar(
      expected, 'answers', 'choose', len(done), log=out / 'metrics.jsonl'
    ) as shown,
  ):
    for n in candidates:
      old = {(e, j) for step, e, j in done if step == n}
      if len(old) < len(examples) * cfg.answer.m:
        model = folders[n] / 'model'
        for harvest in answers(model, examples, old, cfg, layout):
          new = [CheckpointAnswer(n, t) for t in harvest.trajectories()]
          log.append(new)
          done |= {(n, a.sample.example_id, a.sample.j): a for a in new}
          shown.update(len(new), **harvest.counts)
  judged = judge_answers(list(done.values()), examples, out, cfg, layout)
  records.write(out / 'validation.jsonl', judged)
  best = max(judged, key=lambda j: (j.reward, -j.step))
  count = collections.Counter(step for step, _, _ in done)
  found = weights.find_checkpoint(folders[best.step] / 'model')
  checkpoints.save_model(
    out / 'model',
    found.load(),
    found.size,
    step=best.step,
    **found.origin(),
  )
  return {
    'expected': len(candidates),
    'made': sum(n == expected // len(candidates) for n in count.values()),
    'validation_examples': len(examples),
    'answers': len(done),
    'best_step': best.step,
    'reward': best.reward,
  } | shown.totals()


def clear(trained, examples, *, out, cfg: ChooseSettings) -> str:
  """Removes the checkpoints that were not chosen and what only training needs,
  the states of the optimizer; says how much that was.

  For when `out` is whole. The chosen one's weights stay, here as there.
  """
  del examples
  note, folder = trained / REMOVED, trained / 'checkpoints'
  mine = not note.exists() or records.read_json(note)['by'] == out.name
  if cfg.choose.keep_all or not mine:
    return ''
  best = records.read_json(out / 'model' / 'model.json')['step']
  kept = folder / f'step_{best}' / 'model'
  others = [path for path in folder.iterdir() if path != kept.parent]
  others += [path for path in kept.parent.iterdir() if path != kept]
  if not others:
    return ''
  freed = sum(map(bytes_of, others))
  if not note.exists():
    records.write_json(note, {'by': out.name, 'kept': best, 'bytes': freed})
  for path in others:
    path.rmtree() if path.is_dir() else path.unlink()
  return f'    freed   ({freed:,} bytes: all but the weights of step {best})'


def check_all_there(trained) -> None:
  """Raises InputError where an earlier choice has left only its own."""
  if not (trained / REMOVED).exists():
    return
  note = records.read_json(trained / REMOVED)
  raise errors.InputError(
    f'{trained}: only step {note["kept"]} is left since {note["by"]}, so '
    'nothing can be chosen by other settings: remove this folder, and it is '
    'trained again, with --config.choose.keep_all to keep all checkpoints'
  )


def bytes_of(path) -> int:
  """Bytes of a file or of all that is in a folder."""
  if path.is_dir():
    return sum(map(bytes_of, path.iterdir()))
  return path.stat().length


def subset(
  examples: Sequence[types.Example], *, limit: int, seed: int
) -> list[types.Example]:
  """At most `limit` random examples of each task, in their order."""
  of_task = collections.defaultdict(list)
  for n, example in enumerate(examples):
    of_task[example.task].append(n)
  rng = np.random.default_rng([seed, len(examples)])
  chosen = [
    n
    for numbers in of_task.values()
    for n in rng.permutation(numbers)[:limit].tolist()
  ]
  return [examples[n] for n in sorted(chosen)]


def answers(
  model, examples, done, cfg: ChooseSettings, layout
) -> Iterator[generator.FinishedSamples]:
  """What a checkpoint writes for each example; (example, j) in `done` not."""
  settings = generator.SamplingSettings.of(
    cfg.answer,
    prompt=cfg.prompt,
    tokenizer=cfg.tokenizer,
    reasoning=cfg.reasoning,
    seed=cfg.seed,
    purpose='validate',
    iteration=0,
  )
  words = cfg.tokenizer.tokenizer
  writer = generator.load(model, words, layout, dtype=cfg.answer.dtype)
  asked = generator.policy_prompts(examples, writer.tokenizer, settings)
  extent = prompts.PromptStats.of(asked)
  yield from generator.generate_missing(
    writer, examples, settings, extent=extent, done=done
  )


def judge_answers(
  answered: Sequence[CheckpointAnswer],
  examples,
  out,
  cfg: ChooseSettings,
  layout,
) -> list[CheckpointReward]:
  """Each checkpoint's macro-mean reward, by step; equal answers asked once."""
  by_id = {e.id: e for e in examples}
  answer_of = rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning)
  questions = [
    rewards.reward_query(by_id[a.sample.example_id], answer_of(a.sample.text))
    for a in answered
  ]
  found = rewards.rewards_of(
    lambda: questions, out=out / 'judged', cfg=cfg.reward, layout=layout
  )
  by_step = collections.defaultdict(lambda: collections.defaultdict(list))
  for a, question in zip(answered, questions, strict=True):
    task = by_id[a.sample.example_id].task
    by_step[a.step][task].append(found.of(question))
  return [
    CheckpointReward(
      step, statistics.fmean(map(statistics.fmean, of_task.values()))
    )
    for step, of_task in sorted(by_step.items())
  ]
