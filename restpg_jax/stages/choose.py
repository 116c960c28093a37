"""Chooses the checkpoint of a training run that is best on validation."""

import collections
import dataclasses
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from restpg_jax import config, errors, storage, types
from restpg_jax.engines import (
  generator,
  model_size,
  prompting,
  reward_log,
  rewards,
  trainer,
)
from restpg_jax.io import (
  append_log,
  artifacts,
  checkpoints,
  progress,
  records,
  speed,
  sums,
  weights,
)
from restpg_jax.parallel import hosts as hosts_lib
from restpg_jax.parallel import layout as layouts
from restpg_jax.text import prompts

VERSION = 2  # 1 kept whole questions in judged/
REMOVED = 'removed.json'  # in the folder of the training
# The best checkpoint's answers; not in folders of before it was written, which
# hold the same rewards, so that VERSION stayed.
SCORED = 'scored.jsonl'


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


@artifacts.stage(
  'restpg_jax.stages.choose.choose', version=VERSION, hosts=artifacts.SHARES
)
def choose(
  trained: epath.Path,
  examples: epath.Path,
  *,
  out: epath.Path,
  cfg: ChooseSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes model/, the checkpoint with the best macro-mean reward, ties to the
  earlier, validation.jsonl, the reward of each, and scored.jsonl, the answers
  of the best with their rewards: Table 3 is made of these.

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
  if candidates:
    size = weights.find_checkpoint(folders[candidates[-1]] / 'model').size
    need = model_size.bytes_on_disk(size)
    storage.check_room(out, need, 'the chosen model')
  done, rates = answer_all(folders, validation, out, cfg, layout)
  judged = judge_answers(list(done.values()), validation, out, cfg, layout)
  if judged is None:  # the first host writes the whole
    return {}
  means = macro_rewards(judged, validation)
  records.write(out / 'validation.jsonl', means)
  best = max(means, key=lambda mean: (mean.reward, -mean.step))
  records.write(out / SCORED, samples_of(best.step, judged, validation))
  num_answers = len(validation) * cfg.answer.m  # of each checkpoint
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
  } | rates


Answers = dict[tuple[int, str, int], CheckpointAnswer]  # by step, example, j


def answer_all(
  folders: Mapping[int, epath.Path],
  validation: Sequence[types.Example],
  out: epath.Path,
  cfg: ChooseSettings,
  layout: layouts.Layout,
) -> tuple[Answers, dict[str, float]]:
  """Returns what the checkpoints in `folders`, by step, answer, and the rates.

  Each host draws its share; what stands in answers/ is not drawn again.
  """
  hosts = layout.hosts
  keys = [(e.id, j) for e in validation for j in range(cfg.answer.m)]
  own = [(id, j) for id, j in keys if hosts.owns(id)]
  log = append_log.AppendLog(
    out / 'answers', CheckpointAnswer, host=hosts.index
  )
  done = by_key(log)
  with (
    log,
    progress.bar(
      len(folders) * len(own),
      'answers',
      'choose',
      sum(hosts.owns(id) for _, id, _ in done),
      log=progress.log_of(out, hosts),
    ) as shown,
  ):
    for n, folder in folders.items():
      old = {(e, j) for step, e, j in done if step == n}
      if old.issuperset(own):
        continue  # its weights need not be loaded
      check_undamaged(folder)
      model = folder / 'model'
      for finished in answer_missing(model, validation, old, cfg, layout):
        answers = finished.trajectories()
        new = [CheckpointAnswer(n, t) for t in answers]
        log.append(new)
        done |= by_key(new)
        shown.update(len(new), samples=answers, **finished.counts)
  shares = hosts.meet('answered', rates=shown.totals())
  if hosts.count > 1:
    done = answers_of_all(out, hosts, len(folders) * len(keys))
  return done, speed.of_all(shares)


def by_key(answers: Iterable[CheckpointAnswer]) -> Answers:
  """Returns answers by step, example and sample index."""
  return {(a.step, a.sample.example_id, a.sample.j): a for a in answers}


def answers_of_all(
  out: epath.Path, hosts: hosts_lib.Hosts, num_answers: int
) -> Answers:
  """Returns what all hosts have drawn, once it can be read here."""
  done = {}

  def is_whole() -> bool:
    nonlocal done
    log = append_log.AppendLog(
      out / 'answers', CheckpointAnswer, host=hosts.index
    )
    done = by_key(log)
    return len(done) == num_answers

  append_log.await_hosts(is_whole, out / 'answers', hosts)
  return done


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


def check_undamaged(folder: epath.Path) -> None:
  """Raises InputError where the weights of a checkpoint are not as written."""
  if fault := sums.fault(folder, 'model/'):
    trained = folder.parent.parent  # of trained/checkpoints/step_N
    raise errors.InputError(
      f'{folder}: {fault}; remove {trained}, and it is trained again'
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
  """Yields what a model's folder writes for (example, j) not in `done`, of the
  examples that are this host's."""
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
  own = [e for e in examples if layout.hosts.owns(e.id)]
  encoded = prompting.policy_prompts(examples, model.tokenizer, settings)
  stats = prompts.PromptStats.of(encoded)
  yield from generator.generate_missing(
    model, own, settings, stats=stats, done=done
  )


def judge_answers(
  answered: Sequence[CheckpointAnswer],
  examples: Sequence[types.Example],
  out: epath.Path,
  cfg: ChooseSettings,
  layout: layouts.Layout,
) -> list[CheckpointAnswer] | None:
  """Returns the answers with their rewards; None on other hosts than the first.

  Equal answers to an input are judged once.
  """
  by_id = {e.id: e for e in examples}
  answer_of = rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning)
  queries = [
    rewards.reward_query(by_id[a.sample.example_id], answer_of(a.sample.text))
    for a in answered
  ]
  query_rewards = reward_log.shared_rewards_of(
    lambda: queries, out=out / 'judged', settings=cfg.reward, layout=layout
  )
  if query_rewards is None:
    return None
  return [
    CheckpointAnswer(
      a.step, dataclasses.replace(a.sample, reward=query_rewards.of(query))
    )
    for a, query in zip(answered, queries, strict=True)
  ]


def macro_rewards(
  judged: Iterable[CheckpointAnswer], examples: Iterable[types.Example]
) -> list[CheckpointReward]:
  """Returns each checkpoint's macro-mean reward, by step.

  Rewards 0.2 and 0.4 in one task, 0.9 in another  ->  (0.3 + 0.9) / 2 = 0.6
  """
  tasks = {e.id: e.task for e in examples}
  by_step = collections.defaultdict(lambda: collections.defaultdict(list))
  for a in judged:
    by_step[a.step][tasks[a.sample.example_id]].append(a.sample.scored_reward)
  return [
    CheckpointReward(
      step, statistics.fmean(map(statistics.fmean, by_task.values()))
    )
    for step, by_task in sorted(by_step.items())
  ]


def samples_of(
  step: int,
  judged: Iterable[CheckpointAnswer],
  examples: Iterable[types.Example],
) -> list[types.Trajectory]:
  """Returns the answers of one checkpoint, in the order of examples and j.

  Hosts and kills mix the order in which they were drawn.
  """
  order = {e.id: n for n, e in enumerate(examples)}
  return sorted(
    (a.sample for a in judged if a.step == step),
    key=lambda s: (order[s.example_id], s.j),
  )
