"""The numbers of each test answer beside its reward; they decide nothing."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax

from restpg_jax import assets, config, errors, types
from restpg_jax.engines import embedder, rewards
from restpg_jax.io import (
  append_log,
  artifacts,
  encoders,
  progress,
  records,
  samples,
)
from restpg_jax.rewards import bleu, embedding, meteor, rouge

PIECE = 256  # answers that are put on disk together
VECTORS, JUDGED = 'vectors', 'judged'  # folders, until the stage is done
# Questions, whose answer is '' where there is none -> what is measured of each,
# in order: a number, or what a number of all answers to a task is made from.
Metric = Callable[[Sequence[rewards.RewardQuery]], Iterable[float | list[int]]]


@dataclasses.dataclass(frozen=True)
class MeasureSettings:
  """What decides the numbers."""

  metrics: tuple[str, ...]
  prompt: config.Prompt  # says where the answer begins
  reasoning: bool
  m: int = config.extendable()  # answers to an example: j < m
  encoder: str = config.path_field(reads='encoder')  # of cosine
  judge: config.Reward | None = None
  shards: int = config.local_field(0)  # devices that share it; 0: as all do


@dataclasses.dataclass(frozen=True)
class Measured:
  """An answer's numbers, by the names of METRICS."""

  example_id: str
  j: int
  values: dict[str, float | list[int]]


@artifacts.stage('restpg_jax.stages.measure.measure')
def measure(examples, answers, *, out, cfg: MeasureSettings, layout) -> dict:
  """measured.jsonl: the numbers of each answer, by example and j.

  Those that are finished stand in measured/.
  """
  examples = records.read(examples / 'examples.jsonl', types.Example)
  by_id = {e.id: e for e in examples}
  drawn = list(samples.read_samples(answers / 'trajectories.jsonl', cfg.m))
  known = append_log.IndexedLog(
    out / 'measured', Measured, host=jax.process_index(), key=samples.key
  )
  new = [s for s in drawn if samples.key(s) not in known]
  with (
    known,
    progress.bar(
      len(drawn),
      'answers',
      'measure',
      len(drawn) - len(new),
      log=out / 'metrics.jsonl',
      compiles=False,
    ) as shown,
  ):
    measured = measure_samples(new, by_id, cfg, build_metrics(cfg, layout, out))
    while piece := list(itertools.islice(measured, PIECE)):
      known.append(piece)
      shown.update(len(piece))
  made = records.write(
    out / 'measured.jsonl', known.get([samples.key(s) for s in drawn])
  )
  for name in (VECTORS, JUDGED):
    (out / name).rmtree(missing_ok=True)
  return {'expected': len(drawn), 'made': made} | about(cfg) | shown.totals()


def measure_settings(cfg: config.Config, *, reasoning: bool) -> MeasureSettings:
  """Without what decides nothing: order, doubles, an encoder that is idle, and
  a judge that is the reward already."""
  asked = {*cfg.evaluate.metrics}
  if cfg.reward.name == 'judge':
    asked -= {'judge'}
  encoder = cfg.evaluate.encoder or cfg.retrieval.encoder
  return MeasureSettings(
    metrics=tuple(name for name in METRICS if name in asked),
    prompt=cfg.prompt,
    reasoning=reasoning,
    m=cfg.answer.m,
    encoder=encoder if 'cosine' in asked else '',
    judge=judge_of(cfg) if 'judge' in asked else None,
    shards=cfg.evaluate.shards if 'judge' in asked else 0,
  )


def reward_of(cfg: config.Config) -> config.Reward:
  """Of test answers: `reward`, in the precision of evaluation.

  Checkpoints are chosen by `reward` itself: appendix B has full precision for
  the test set, and says of validation only that it reads fewer examples.
  """
  dtype = cfg.evaluate.dtype or cfg.reward.dtype
  return dataclasses.replace(cfg.reward, dtype=dtype)


def judge_of(cfg: config.Config) -> config.Reward:
  """The judge of test answers, whatever their reward is."""
  return dataclasses.replace(reward_of(cfg), name='judge')


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
  drawn: Sequence[types.Trajectory],
  examples: dict[str, types.Example],
  cfg: MeasureSettings,
  metrics: dict[str, Metric],
) -> Iterator[Measured]:
  """Of each sample, in order."""
  if not drawn:  # no model is loaded for nothing
    return
  answer_of = rewards.answer_reader(cfg.prompt, reasoning=cfg.reasoning)
  asked = []
  for s in drawn:
    example, answer = examples[s.example_id], answer_of(s.text)
    asked.append(
      rewards.RewardQuery(example.input, example.output, answer or '')
    )
  columns = [metric(asked) for metric in metrics.values()]
  for s, *values in zip(drawn, *columns, strict=True):
    yield Measured(s.example_id, s.j, dict(zip(metrics, values, strict=True)))


def build_metrics(cfg: MeasureSettings, layout, out) -> dict[str, Metric]:
  """By name from METRICS; `out` is the folder of the stage that asks."""
  return {name: METRICS[name](cfg, layout, out) for name in cfg.metrics}


def about(cfg: MeasureSettings) -> dict[str, str]:
  """Which data the numbers rest on, for a summary."""
  if 'meteor' not in cfg.metrics:
    return {}
  return {'wordnet': meteor.dictionary()}


def cosine_metric(cfg: MeasureSettings, layout, out) -> Metric:
  """Cosine of answer and gold text by an encoder; no answer is 0.

  Vectors stay in the stage's folder, and only until it is done.
  """

  def cosines(asked: Sequence[rewards.RewardQuery]) -> list[float]:
    found = [0.0] * len(asked)
    places = [n for n, question in enumerate(asked) if question.answer]
    if not places:
      return found
    encode = embedder.Embedder(assets.path(cfg.encoder), layout, out / VECTORS)
    written_ND = encode([asked[n].answer for n in places])
    gold_ND = encode([asked[n].reference for n in places])
    for n, value in zip(
      places, embedding.cosines(written_ND, gold_ND), strict=True
    ):
      found[n] = value
    return found

  return cosines


def judge_metric(cfg: MeasureSettings, layout, out) -> Metric:
  """What the judge says where it is not the reward; no answer is 0."""

  def judged(asked: Sequence[rewards.RewardQuery]) -> list[float]:
    answers = [question if question.answer else None for question in asked]
    found = rewards.rewards_of(
      lambda: answers,
      out=out / JUDGED,
      cfg=cfg.judge,
      layout=layout.context_parallel_copies(cfg.shards or layout.shards),
    )
    return list(map(found.of, answers))

  return judged


def alone(value: Callable[[str, str], float | list[int]]):
  """A metric that looks at one answer and its gold text after another."""
  return lambda cfg, layout, out: (
    lambda asked: (value(q.answer, q.reference) for q in asked)
  )


def rouge_metric(name: str):
  return alone(lambda answer, gold: rouge.rouge(name, answer, gold))


METRICS = {
  **{name: rouge_metric(name) for name in rouge.NAMES},
  'bleu': alone(bleu.sentence),
  'corpus_bleu': alone(bleu.counts),
  'meteor': alone(meteor.meteor),
  'cosine': cosine_metric,
  'judge': judge_metric,
}
