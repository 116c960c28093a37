"""Measures each test answer beside its reward; the numbers decide nothing."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from etils import epath

from restpg_jax import assets, config, effective, errors, types
from restpg_jax.engines import embedder, reward_log, rewards
from restpg_jax.io import (
  append_log,
  artifacts,
  encoders,
  progress,
  records,
  samples,
  speed,
)
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import bleu, meteor, rouge

PIECE = 256  # answers that are put on disk together: a kill loses no more
VECTORS, JUDGED = 'vectors', 'judged'  # folders, until the stage is done
# Queries (the answer is '' where there is none) -> the value of each: a number,
# or the counts from which one number for a whole task is computed.
Value = float | list[int]
Metric = Callable[[Sequence[rewards.RewardQuery]], Iterable[Value]]


@dataclasses.dataclass(frozen=True)
class MeasureSettings:
  """The settings that decide the numbers."""

  metrics: tuple[str, ...]
  prompt: config.Prompt  # says where the answer begins
  reasoning: bool
  m: int = config.extendable()  # answers to an example: j < m
  encoder: str = config.path_field(reads='encoder')  # of cosine
  judge: config.Reward | None = None
  # Devices that share the judge; 0: as in all stages.
  shards: int = config.local_field(0)


@dataclasses.dataclass(frozen=True)
class Measured:
  """A line of measured.jsonl: an answer's numbers, by the names of METRICS."""

  example_id: str
  j: int
  values: dict[str, Value]


@artifacts.stage('restpg_jax.stages.measure.measure', hosts=artifacts.SHARES)
def measure(
  examples: epath.Path,
  answers: epath.Path,
  *,
  out: epath.Path,
  cfg: MeasureSettings,
  layout: layouts.Layout,
) -> dict[str, Any]:
  """Writes measured.jsonl, the numbers of each answer, by example and j.

  Those that are finished stand in measured/.
  """
  read = records.read(examples / 'examples.jsonl', types.Example)
  by_id = {e.id: e for e in read}
  answered = list(samples.read_samples(answers / 'trajectories.jsonl', cfg.m))
  hosts = layout.hosts
  known = append_log.IndexedLog(
    out / 'measured', Measured, host=hosts.index, key=measured_key
  )
  own = [s for s in answered if hosts.owns(s.example_id)]
  new = [s for s in own if samples.key(s) not in known]
  with (
    known,
    progress.bar(
      len(own),
      'answers',
      'measure',
      len(own) - len(new),
      log=progress.log_of(out, hosts),
      compiles=False,
    ) as shown,
  ):
    measured = measure_samples(new, by_id, cfg, build_metrics(cfg, layout, out))
    while piece := list(itertools.islice(measured, PIECE)):
      known.append(piece)
      shown.update(len(piece))
  shares = hosts.gather(rates=shown.totals())
  if not shares:
    return {}
  keys = [samples.key(s) for s in answered]
  known.await_all(keys, hosts)
  num_measured = records.write(out / 'measured.jsonl', known.get(keys))
  for name in (VECTORS, JUDGED):
    (out / name).rmtree(missing_ok=True)
  return (
    {'expected': len(answered), 'made': num_measured}
    | sources(cfg)
    | speed.of_all(shares)
  )


def measured_key(line: Measured) -> tuple[str, int]:
  """Returns what a line of measured/ is found by, as samples.key does."""
  return line.example_id, line.j


def measure_settings(
  evaluate: config.Evaluate,
  retrieval: config.Retrieval,
  *,
  prompt: config.Prompt,
  reward: config.Reward,
  reasoning: bool,
  m: int,
) -> MeasureSettings:
  """Returns the settings without what decides nothing: order, doubles, an idle
  encoder, and a judge that is the reward already.

  reward: as `reward_of` gives it, in the precision of evaluation
  """
  metrics = {*evaluate.metrics}
  if reward.name == 'judge':
    metrics -= {'judge'}
  judge = effective.reward(dataclasses.replace(reward, name='judge'))
  encoder = evaluate.encoder or retrieval.encoder
  return MeasureSettings(
    metrics=tuple(name for name in METRICS if name in metrics),
    prompt=prompt,
    reasoning=reasoning,
    m=m,
    encoder=encoder if 'cosine' in metrics else '',
    judge=judge if 'judge' in metrics else None,
    shards=evaluate.shards if 'judge' in metrics else 0,
  )


def reward_of(
  reward: config.Reward, evaluate: config.Evaluate
) -> config.Reward:
  """Returns the reward of test answers, in the precision of evaluation.

  Checkpoints are chosen by `reward` itself: appendix B has full precision for
  the test set, and says of validation only that it reads fewer examples.
  """
  return dataclasses.replace(reward, dtype=evaluate.dtype or reward.dtype)


def check_metrics(
  evaluate: config.Evaluate, retrieval: config.Retrieval
) -> None:
  """Raises InputError for settings that no run can have."""
  for name in evaluate.metrics:
    if name not in METRICS:
      raise errors.InputError(
        f'evaluate.metrics has {name!r}; known are {", ".join(METRICS)}'
      )
  if 'cosine' in evaluate.metrics and not (
    evaluate.encoder or retrieval.encoder
  ):
    raise errors.InputError(
      'evaluate.metrics has cosine: give the folder of an encoder as '
      'evaluate.encoder'
    )


def check_files(evaluate: config.Evaluate, retrieval: config.Retrieval) -> None:
  """Raises InputError where what a metric reads is not there."""
  if 'meteor' in evaluate.metrics:
    meteor.check_wordnet()
  if 'cosine' in evaluate.metrics:
    encoders.load_encoder(assets.path(evaluate.encoder or retrieval.encoder))


def measure_samples(
  trajectories: Sequence[types.Trajectory],
  examples: dict[str, types.Example],
  cfg: MeasureSettings,
  metrics: dict[str, Metric],
) -> Iterator[Measured]:
  """Yields the numbers of each sample, in order."""
  if not trajectories:  # no model is loaded for nothing
    return
  answer_of = rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning)
  queries = []
  for s in trajectories:
    example, answer = examples[s.example_id], answer_of(s.text)
    queries.append(
      rewards.RewardQuery(example.input, example.output, answer or '')
    )
  columns = [metric(queries) for metric in metrics.values()]
  for s, *values in zip(trajectories, *columns, strict=True):
    yield Measured(s.example_id, s.j, dict(zip(metrics, values, strict=True)))


def build_metrics(
  cfg: MeasureSettings, layout: layouts.Layout, out: epath.Path
) -> dict[str, Metric]:
  """Builds the metrics by name; `out` is the folder of the calling stage."""
  return {name: METRICS[name](cfg, layout, out) for name in cfg.metrics}


def sources(cfg: MeasureSettings) -> dict[str, str]:
  """Returns what data the numbers rest on, for a summary."""
  if 'meteor' not in cfg.metrics:
    return {}
  return {'wordnet': meteor.dictionary()}


def cosine_metric(
  cfg: MeasureSettings, layout: layouts.Layout, out: epath.Path
) -> Metric:
  """Cosine of answer and gold text by an encoder; no answer is 0.

  Vectors stay in the stage's folder, and only until it is done.
  """

  def measured(queries: Sequence[rewards.RewardQuery]) -> list[float]:
    values = [0.0] * len(queries)
    indices = [n for n, query in enumerate(queries) if query.answer]
    if not indices:
      return values
    encode = embedder.Embedder(assets.path(cfg.encoder), layout, out / VECTORS)
    cosines = embedder.cosines(
      encode,
      [queries[n].answer for n in indices],
      [queries[n].reference for n in indices],
    )
    for n, cosine in zip(indices, cosines, strict=True):
      values[n] = cosine
    return values

  return measured


def judge_metric(
  cfg: MeasureSettings, layout: layouts.Layout, out: epath.Path
) -> Metric:
  """The judge's reward where it is not the reward itself; no answer is 0."""
  if cfg.judge is None:
    raise ValueError('metrics has judge, but its settings are missing')
  judge = cfg.judge

  def judged(queries: Sequence[rewards.RewardQuery]) -> list[float]:
    answered = [query if query.answer else None for query in queries]
    query_rewards = reward_log.rewards_of(
      lambda: answered,
      out=out / JUDGED,
      settings=judge,
      layout=layout.context_parallel_copies(cfg.shards or layout.shards),
    )
    return list(map(query_rewards.of, answered))

  return judged


MetricBuilder = Callable[[MeasureSettings, layouts.Layout, epath.Path], Metric]


def per_answer(value: Callable[[str, str], Value]) -> MetricBuilder:
  """Builds a metric from a function of one answer and its gold text."""
  return lambda cfg, layout, out: (
    lambda queries: (value(q.answer, q.reference) for q in queries)
  )


def rouge_metric(name: str) -> MetricBuilder:
  return per_answer(lambda answer, gold: rouge.rouge(name, answer, gold))


METRICS: dict[str, MetricBuilder] = {
  **{name: rouge_metric(name) for name in rouge.NAMES},
  'bleu': per_answer(bleu.sentence),
  'corpus_bleu': per_answer(bleu.counts),
  'meteor': per_answer(meteor.meteor),
  'cosine': cosine_metric,
  'judge': judge_metric,
}
