"""Training curves: loss, gradient norm, and validation by checkpoint."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from etils import epath

from restpg_jax.io import records
from restpg_jax.report import charts, groups, timing
from restpg_jax.stages import choose, train

T = TypeVar('T')

SECTION = 'training'
POINTS = 150  # of a curve, about
NAMES = {'loss': 'loss', 'grad_norm': 'norm of the gradient'}
FIRST = 'Of several seeds, those of the first.'


def figures(
  workdir: epath.Path,
  methods: Sequence[dict[str, Any]],
  stages: Sequence[dict[str, Any]],
) -> Iterator[charts.Chart]:
  """Yields the curves of every training behind the methods' numbers.

  Trainings whose logs were removed are left out.
  """
  by_label = {method['label']: method for method in methods}
  drawn = groups.groups(groups.unextended(methods))
  logs, rewards = {}, {}
  for group in drawn:
    needed = timing.needed_stages(by_label[group.labels[0]], [*stages])
    own = [stage for stage in stages if stage['fingerprint'] in needed]
    logs[group.title] = _logs(
      workdir, own, 'train', 'metrics.jsonl', train.TrainLog
    )
    rewards[group.title] = _logs(
      workdir, own, 'choose', 'validation.jsonl', choose.CheckpointReward
    )
  for name, title in NAMES.items():
    yield from _chart(
      f'training_{name}',
      f'Training: {title}',
      title,
      {
        group: {
          step: [(line.step, getattr(line, name)) for line in lines]
          for step, lines in by_step.items()
        }
        for group, by_step in logs.items()
      },
    )
  yield from _chart(
    'training_validation',
    'Macro reward on validation by checkpoint; the best is chosen',
    'reward',
    {
      group: {
        step: [(line.step, line.reward) for line in lines]
        for step, lines in by_step.items()
      }
      for group, by_step in rewards.items()
    },
  )


def _logs(
  workdir: epath.Path,
  stages: Sequence[dict[str, Any]],
  kind: str,
  file: str,
  row: type[T],
) -> dict[str, list[T]]:
  """Returns the lines of a file of all stages of a kind, by step."""
  return {
    stage['name'].partition('/')[0]: thinned([*records.read(path, row)])
    for stage in stages
    if stage['name'].endswith(f'/{kind}')
    and (path := workdir / stage['folder'] / file).exists()
  }


def thinned(lines: list[T]) -> list[T]:
  """Returns every n-th line and the last, about POINTS of them."""
  every = -(-len(lines) // POINTS)
  return [*lines[: -1 if lines else None : every or 1], *lines[-1:]]


def _chart(
  name: str,
  title: str,
  y: str,
  curves: dict[str, dict[str, list[tuple[int, float]]]],
) -> Iterator[charts.Chart]:
  """Yields a chart with a panel an experiment, a line a training."""
  steps = list(dict.fromkeys(s for by_step in curves.values() for s in by_step))
  panels = [
    charts.Panel(
      group,
      tuple(
        charts.Series(
          step,
          tuple(charts.Point(x, value) for x, value in points),
          steps.index(step),
        )
        for step, points in by_step.items()
      ),
    )
    for group, by_step in curves.items()
    if any(by_step.values())
  ]
  if panels:
    yield charts.Chart(
      name=name,
      section=SECTION,
      title=title,
      x='step',
      y=y,
      panels=tuple(panels),
      note=FIRST,
    )
