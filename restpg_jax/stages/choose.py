"""The checkpoint of a training run that is best on validation examples."""

import collections
import dataclasses
import statistics
from collections.abc import Sequence

import numpy as np

from restpg_jax import config, types
from restpg_jax.io import checkpoints, progress, records
from restpg_jax.stages import draw, language, score, train


@dataclasses.dataclass(frozen=True)
class Settings:
  """What decides the choice."""

  choose: config.Choose
  answer: config.Sample
  reward: config.Reward
  prompt: config.Prompt
  tokenizer: config.Model
  reasoning: bool
  seed: int


@dataclasses.dataclass(frozen=True)
class Judged:
  """A checkpoint and its macro-mean reward on the validation examples."""

  step: int
  reward: float


def choose(trained, examples, *, out, cfg: Settings, layout) -> dict:
  """model/: the checkpoint with the best macro-mean reward, ties to the
  earlier; validation.jsonl: that of each."""
  examples = subset(
    list(records.read(examples / 'examples.jsonl', types.Example)),
    limit=cfg.choose.examples,
    seed=cfg.seed,
  )
  reward = score.build(cfg.reward, layout)
  log = records.Appender(out / 'validation.jsonl', Judged)
  known = {j.step: j for j in log.done}
  candidates = train.finished(trained)
  answers = len(examples) * cfg.answer.m
  with progress.bar(
    len(candidates) * answers,
    'answers',
    'choose',
    len(known) * answers,
    log=out / 'metrics.jsonl',
  ) as shown:
    for n in candidates:
      if n not in known:
        model = trained / 'checkpoints' / f'step_{n}' / 'model'
        value = judge(model, examples, reward, cfg, layout, shown)
        known[n] = Judged(n, value)
        log.append([known[n]])
  best = max((known[n] for n in candidates), key=lambda j: (j.reward, -j.step))
  folder = trained / 'checkpoints' / f'step_{best.step}' / 'model'
  params, size = checkpoints.load_model(folder)
  checkpoints.save_model(out / 'model', params, size, step=best.step)
  return {
    'expected': len(candidates),
    'made': len(known),
    'validation_examples': len(examples),
    'answers': len(candidates) * answers,
    'best_step': best.step,
    'reward': best.reward,
  } | shown.totals()


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


def judge(
  model,
  examples,
  reward: score.Reward,
  cfg: Settings,
  layout,
  shown: progress.Shown,
) -> float:
  """Macro-mean reward of a checkpoint's answers."""
  words = cfg.tokenizer.tokenizer
  writer = language.load(model, words, layout, dtype=cfg.answer.dtype)
  settings = draw.Settings(
    temperature=cfg.answer.temperature,
    top_p=cfg.answer.top_p,
    top_k=cfg.answer.top_k,
    dtype=cfg.answer.dtype,
    prompt=cfg.prompt,
    tokenizer=cfg.tokenizer,
    reasoning=cfg.reasoning,
    seed=cfg.seed,
    purpose='validate',
    iteration=0,
    m=cfg.answer.m,
  )
  asked = draw.policy_prompts(examples, writer.tokenizer, settings)
  drawn = []
  for batch in draw.missing(writer, examples, asked, settings):
    drawn += batch.samples
    shown.update(len(batch.samples), **batch.counts)
  by_id = {e.id: e for e in examples}
  questions = score.questions(
    drawn,
    by_id,
    score.Settings(cfg.reward, cfg.prompt, cfg.reasoning, cfg.answer.m),
  )
  new = [q for q in dict.fromkeys(questions) if q]
  known = {}
  for found in score.answered(reward, new, cfg.reward.name):
    known |= found
  of_task = collections.defaultdict(list)
  for sample, question in zip(drawn, questions, strict=True):
    value = known[question] if question else 0.0
    of_task[by_id[sample.example_id].task].append(value)
  return statistics.fmean(map(statistics.fmean, of_task.values()))
