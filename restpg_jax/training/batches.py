"""Builds rows and batches: what is read, and which tokens count in the loss."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from restpg_jax.training import packing

Array = jax.Array | np.ndarray  # traced in a program, built on the host


@dataclasses.dataclass(frozen=True)
class TrainingRow:
  """One training sequence: an example with one of its outputs."""

  tokens: tuple[int, ...]
  weights: tuple[float, ...]  # of predicting each token; 0: only context
  id: str = ''

  @classmethod
  def of(
    cls,
    prompt: Sequence[int],
    target: Sequence[int],
    reward: float,
    id: str = '',
  ) -> 'TrainingRow':
    """Returns context, then a target whose every token weighs `reward`."""
    return cls(
      (*prompt, *target), (0.0,) * len(prompt) + (reward,) * len(target), id
    )

  @property
  def length(self) -> packing.Length:
    """Returns its tokens and targets; the first token is never predicted."""
    return packing.Length(
      len(self.tokens), sum(w != 0 for w in self.weights[1:])
    )


@dataclasses.dataclass(frozen=True)
class TrainingExample:
  """An output of an example while it waits for its step.

  The outputs of one example hold the same prompt, not a copy each: at the
  paper's scale there are 400,000 outputs of 40,000 prompts.
  """

  prompt: np.ndarray  # int32
  target: np.ndarray  # int32
  reward: float
  id: str = ''

  @property
  def length(self) -> packing.Length:
    """Returns that of its row; a prompt has at least its first token."""
    tokens = len(self.prompt) + len(self.target)
    return packing.Length(tokens, len(self.target) if self.reward else 0)

  def row(self) -> TrainingRow:
    """Returns the output with its prompt as one sequence."""
    return TrainingRow.of(
      self.prompt.tolist(), self.target.tolist(), self.reward, self.id
    )


class Batch(NamedTuple):
  """B rows of sequences side by side, with logits at T tokens of each."""

  tokens_BL: Array
  segment_BL: Array  # 1, 2, .. of the sequences of a row; 0 where padded
  position_BL: Array  # of a token in its sequence
  index_BT: Array  # index in the row of the token before the target
  target_BT: Array
  weight_BT: Array  # 0 where padded


def pack_rows(
  rows: Sequence[Sequence[TrainingRow]], shape: packing.BatchShape
) -> Batch:
  """Returns rows of sequences as arrays of this shape.

  Sequences that do not fit are our own mistake.
  """
  B, L, T = shape.rows, shape.length, shape.targets
  tokens_BL, segment_BL, position_BL = np.zeros((3, B, L), np.int32)
  index_BT, target_BT = np.zeros((2, B, T), np.int32)
  weight_BT = np.zeros((B, T), np.float32)
  for b, sequences in enumerate(rows):
    begin = filled = 0
    for segment, one in enumerate(sequences, 1):
      tokens, weights = np.array(one.tokens), np.array(one.weights)
      (at,) = np.nonzero(weights[1:])
      here = slice(begin, begin + len(tokens))
      tokens_BL[b, here] = tokens
      segment_BL[b, here] = segment
      position_BL[b, here] = np.arange(len(tokens))
      there = slice(filled, filled + len(at))
      index_BT[b, there] = begin + at
      target_BT[b, there] = tokens[at + 1]
      weight_BT[b, there] = weights[at + 1]
      begin, filled = here.stop, there.stop
  return Batch(
    tokens_BL, segment_BL, position_BL, index_BT, target_BT, weight_BT
  )


def load_balanced(batch: Batch, order: np.ndarray) -> Batch:
  """Returns the rows with their tokens in another order.

  The n-th token of a row was at order[n].
  """
  reordered = {
    name: getattr(batch, name)[:, order]
    for name in ('tokens_BL', 'segment_BL', 'position_BL')
  }
  index_BT = np.argsort(order).astype(np.int32)[batch.index_BT]
  return batch._replace(index_BT=index_BT, **reordered)


def targets(rows: Sequence[TrainingRow]) -> int:
  """Counts the target tokens with a weight: what the loss is divided by."""
  return sum(row.length.targets for row in rows)


def rows_of_step(count: int, *, seed: int, step: int, size: int) -> list[int]:
  """Returns the rows, of `count`, of a batch: a function of (seed, step) only.

  Rows are visited in a new random order each epoch, none twice in one epoch.
  """
  visits = range(step * size, (step + 1) * size)
  orders = {
    epoch: np.random.default_rng([seed, epoch]).permutation(count)
    for epoch in {visit // count for visit in visits}
  }
  return [int(orders[visit // count][visit % count]) for visit in visits]
