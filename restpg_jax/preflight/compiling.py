"""Counts the programs that a run compiles: one for each shape of its data."""

import dataclasses
from collections.abc import Iterable, Sequence

from restpg_jax import config, integers
from restpg_jax.engines import embedder, model_size, trainer
from restpg_jax.parallel import layout as layouts
from restpg_jax.preflight import (
  draw_workloads,
  duration,
  judging,
  memory,
  programs,
)
from restpg_jax.preflight import workload as work
from restpg_jax.sampling import candidates

INPUTS = 10_000  # whose answers stand for all that are judged
STEPS = 64  # optimizer steps whose packing stands for all


@dataclasses.dataclass(frozen=True)
class CompileTime:
  """Holds how often a program is compiled, and what that takes."""

  program: str
  shapes: int  # of it, each a compile
  seconds: float | None  # of the one that was compiled here; None: it failed

  @property
  def total(self) -> float:
    """Returns the seconds of all shapes, each as long as the compiled one."""
    return self.shapes * (self.seconds or 0.0)


def compile_times(
  rows: Iterable[memory.ProgramReport], counts: dict[str, int]
) -> list[CompileTime]:
  """Returns those of programs that were compiled, by the counts of `shapes`.

  Other shapes of a program have as many operations, only other sizes: they are
  taken to compile as long.
  """
  return [
    CompileTime(row.program, counts[row.program], row.compile_seconds)
    for row in rows
    if row.program in counts
  ]


def shapes(
  cfg: config.Config,
  names: Sequence[str],
  layout: layouts.Layout,
  reasoning: Iterable[bool],
) -> dict[str, int]:
  """Returns the number of shapes of each program of these stages.

  `reasoning` says of the methods whether they reason: targets with reasoning
  are longer. Left out are what compiles in a moment: zeros, single reductions.
  """
  counts = {}
  sizes = draw_workloads.split_sizes(cfg)
  for name in names:
    if name in memory.DRAW_WORKLOADS:
      count = _draw_shapes(cfg, name, sizes, layout)
      counts |= {f'{name}/start': count, f'{name}/advance': count}
    elif name in ('judge', 'test_judge'):
      counts[name] = len(judged_pairs(cfg, name))
    elif name == 'train':
      counts['train/rows'] = len(_training_shapes(cfg, layout, reasoning))
      counts['train/update'] = 1
    elif name == 'embed':
      counts['embed'] = sum(
        integers.cdiv(model_size.encoder_size(encoder).positions, embedder.STEP)
        for encoder in model_size.encoder_names(
          cfg.retrieval, cfg.evaluate, cfg.reward
        )
      )
  return counts


def judged_pairs(cfg: config.Config, name: str) -> set[tuple[int, int]]:
  """Returns the lengths that occur: m answers an input, one in evaluation."""
  lengths = candidates.compiled_lengths(cfg.reward.max_input)
  pairs: set[tuple[int, int]] = set()
  for answers in {1} if name == 'test_judge' else {1, cfg.draw.m}:
    judged = judging.judged_lengths(cfg, INPUTS, answers)
    pairs |= set(judging.computed_tokens(judged, lengths).lengths)
  return pairs


def _draw_shapes(
  cfg: config.Config,
  name: str,
  sizes: draw_workloads.SplitSizes,
  layout: layouts.Layout,
) -> int:
  """Returns the number of shapes: validation and test set may differ."""
  workload = memory.DRAW_WORKLOADS[name](cfg, sizes)
  splits = {workload.inputs}
  if name == 'answer':
    splits = {sizes.val, sizes.test}
  model = programs.abstract_model(workload.size, layout, workload.sample.dtype)
  return len(
    {
      draw_workloads.decode_shape(
        dataclasses.replace(workload, inputs=inputs), model
      )
      for inputs in splits
    }
  )


def _training_shapes(
  cfg: config.Config, layout: layouts.Layout, reasoning: Iterable[bool]
) -> set[tuple]:
  """Returns shapes of micro-batches: the first of a step is another program.

  Later ones are given the sums of earlier ones.
  """
  settings = trainer.check_train(cfg.train)
  return {
    (group.shape, n > 0)
    for reasons in set(reasoning)
    for step in duration.packed_steps(
      cfg,
      settings,
      layout,
      work.lengths(cfg, STEPS * settings.batch_size, reasoning=reasons),
    )
    for n, group in enumerate(step)
  }
