"""Reads every evaluated answer of the methods in a workdir, with its scores."""

import dataclasses
from collections.abc import Callable, Iterator, Set
from typing import Any

from etils import epath

from restpg_jax import experiments, types
from restpg_jax.data import world
from restpg_jax.io import artifacts, records, samples
from restpg_jax.stages import choose, measure
from restpg_jax.text import templates


@dataclasses.dataclass(frozen=True)
class Answer:
  """A test request, what a policy wrote to it, and all that was measured."""

  example: types.Example
  j: int
  reasoning: str
  text: str | None  # None: the output never reached the answer marker
  ended: bool  # False: cut at the output limit
  reward: float
  true_score: float | None  # known for synthetic users only
  metrics: dict[str, float | list[int]]  # stages/measure.py; {}: not measured
  tokens: int = 0  # of the whole output; 0 in old runs


@dataclasses.dataclass(frozen=True)
class Files:
  """The files of one evaluation."""

  examples: epath.Path
  scored: epath.Path
  measured: epath.Path | None = None
  whole: bool = True  # all examples are answered


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Holds all answers of one method's policy after iteration t."""

  method: str  # its label (experiments.py)
  t: int
  answers: tuple[Answer, ...]


def read_evaluations(
  workdir: epath.Path, methods: list[dict[str, Any]]
) -> list[Evaluation]:
  """Returns the answers of each iteration, methods in the order given.

  What several methods share is read once. A method's `output` holds the opening
  and marker lines that its answers were written with (templates.Output); it is
  None for methods without reasoning.
  """

  def files(run: dict[str, Any]) -> Files:
    measures = run.get('measures')  # older runs have none
    return Files(
      workdir / run['examples'] / 'examples.jsonl',
      workdir / run['scores'] / 'scored.jsonl',
      measures and workdir / measures / 'measured.jsonl',
    )

  return _evaluations(methods, files)


def read_validation(
  workdir: epath.Path, methods: list[dict[str, Any]]
) -> list[Evaluation]:
  """Returns the validation answers of each iteration's policy, as the others.

  They are those by which its checkpoint was chosen. Iterations are left out
  whose choice was removed, or was made before it kept them.
  """

  def files(run: dict[str, Any]) -> Files | None:
    chosen = experiments.choice_of(workdir, run)
    if chosen is None or not (chosen / choose.SCORED).exists():
      return None
    _, examples = records.read_json(chosen / artifacts.DONE)['inputs']
    return Files(
      workdir / examples['path'] / 'examples.jsonl',
      chosen / choose.SCORED,
      whole=False,
    )

  return _evaluations(methods, files)


def validation_reward(workdir: epath.Path, run: dict[str, Any]) -> float | None:
  """Returns the macro reward of an iteration's policy on validation, which also
  older choices keep; None where the choice was removed."""
  chosen = experiments.choice_of(workdir, run)
  if chosen is None:
    return None
  return records.read_json(chosen / artifacts.DONE)['summary'].get('reward')


def missing(workdir: epath.Path, method: dict[str, Any]) -> str:
  """Returns the first folder of a method that is gone; '' where all exist."""
  folders = (
    run[stage]
    for run in method['iterations']
    for stage in ('examples', 'scores', 'measures')
    if run.get(stage)
  )
  return next((f for f in folders if not (workdir / f).exists()), '')


def last(evaluations: list[Evaluation]) -> dict[str, Evaluation]:
  """Returns each method's last iteration, by its label."""
  return {e.method: e for e in sorted(evaluations, key=lambda e: e.t)}


def answer_metrics(answer: Answer) -> dict[str, float]:
  """Returns the metrics that are a number of this answer alone.

  Counts that only a whole task turns into a number (corpus_bleu) are left out.
  """
  return {
    name: value
    for name, value in answer.metrics.items()
    if isinstance(value, float)
  }


def _evaluations(
  methods: list[dict[str, Any]],
  files: Callable[[dict[str, Any]], Files | None],
) -> list[Evaluation]:
  """Reads what `files` gives for an iteration of a record, each once."""
  seen: dict[tuple, tuple[Answer, ...]] = {}
  evaluations = []
  for method in methods:
    m = method['config']['answer']['m']
    output = method['output'] and templates.Output(**method['output'])
    for run in method['iterations']:
      source = files(run)
      if source is None:
        continue
      key = source, m, output
      if key not in seen:
        seen[key] = tuple(read_answers(source, m=m, output=output))
      evaluations.append(Evaluation(method['label'], run['t'], seen[key]))
  return evaluations


def read_answers(
  files: Files,
  *,
  m: int,
  output: templates.Output | None,
  ids: Set[str] | None = None,
) -> Iterator[Answer]:
  """Joins the files of one evaluation; raises ValueError where they differ.

  Only the examples `ids` are read, where they are given.
  """
  by_id = {
    e.id: e
    for e in records.read(files.examples, types.Example)
    if ids is None or e.id in ids
  }
  metrics = _metrics(files.measured) if files.measured else {}
  unanswered = set(by_id)
  for trajectory in samples.read_samples(files.scored, m):
    if ids is not None and trajectory.example_id not in ids:
      continue
    if trajectory.reward is None or trajectory.example_id not in by_id:
      raise ValueError(
        f'{files.scored}: {trajectory.example_id} has no reward or is not in '
        f'{files.examples}. Remove that folder and run again.'
      )
    key = trajectory.example_id, trajectory.j
    if files.measured and key not in metrics:
      raise ValueError(
        f'{files.measured}: {trajectory.example_id}, j={trajectory.j} is '
        'missing. Remove that folder and run again.'
      )
    unanswered.discard(trajectory.example_id)
    yield _answer(
      by_id[trajectory.example_id],
      trajectory,
      trajectory.reward,
      output=output,
      metrics=metrics.get(key, {}),
    )
  if unanswered and files.whole:
    raise ValueError(
      f'{files.scored}: {len(unanswered)} of {len(by_id)} examples have no '
      'answer. Remove that folder and run again.'
    )


def _metrics(
  path: epath.Path,
) -> dict[tuple[str, int], dict[str, float | list[int]]]:
  """Returns what was measured, by example and sample index j."""
  return {
    (m.example_id, m.j): m.values for m in records.read(path, measure.Measured)
  }


def _answer(
  example: types.Example,
  trajectory: types.Trajectory,
  reward: float,
  *,
  output: templates.Output | None,
  metrics: dict[str, float | list[int]],
) -> Answer:
  """Parts the output at its marker; scores it where the truth is known."""
  reasoning, text = '', trajectory.text.strip()
  if output:
    reasoning, text = output.split(trajectory.text)
  true_score = None
  if example.truth:
    true_score = world.true_score(text or '', example.truth)
  return Answer(
    example=example,
    j=trajectory.j,
    reasoning=reasoning,
    text=text,
    ended=trajectory.ended,
    reward=reward,
    true_score=true_score,
    metrics=metrics,
    tokens=trajectory.tokens,
  )
