"""States the work that all trainers of a benchmark do."""

import dataclasses

from restpg_jax.training import batches, optimizer

SEED = 0  # of the order of the examples


@dataclasses.dataclass(frozen=True)
class Job:
  """The rows to learn, and the settings of their training."""

  folder: str  # holds the weights: ours/, hf/, gemma/
  rows: list[tuple[list[int], list[int]]]  # (prompt, target)
  batch: int  # examples a step
  steps: int  # of the schedule
  warm: int  # the first of them, before the clock runs
  optimizer: str
  rate: float
  warmup: int
  weight_decay: float
  clip: float
  final_rate: float
  threads: int
  accumulate: int = 1  # micro-batches of hf

  def chosen(self, step: int) -> list[tuple[list[int], list[int]]]:
    """Returns the examples of a step, the same for all trainers."""
    rows = batches.rows_of_step(
      len(self.rows), seed=SEED, step=step, size=self.batch
    )
    return [self.rows[n] for n in rows]

  def schedule(self):
    """Returns a function of the step that gives the learning rate."""
    return optimizer.schedule(
      self.rate,
      steps=self.steps,
      warmup=self.warmup,
      final_rate=self.final_rate,
    )

  @property
  def longest(self) -> int:
    return max(len(prompt) + len(target) for prompt, target in self.rows)
