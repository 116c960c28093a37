"""Rows and batches: what is read, and which tokens count in the loss."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np


@dataclasses.dataclass(frozen=True)
class Row:
  """One training sequence."""

  tokens: tuple[int, ...]
  weights: tuple[float, ...]  # of predicting each token; 0: only context

  @classmethod
  def of(cls, prompt: Sequence[int], target: Sequence[int], reward: float):
    """Context, then a target whose every token weighs `reward`."""
    return cls(
      (*prompt, *target), (0.0,) * len(prompt) + (reward,) * len(target)
    )


class Batch(NamedTuple):
  """B rows, right-padded; logits are wanted at T places of each."""

  tokens_BL: jax.Array
  place_BT: jax.Array  # index of the token before the target
  target_BT: jax.Array
  weight_BT: jax.Array  # 0 where padded


@dataclasses.dataclass(frozen=True)
class Shape:
  """The one compiled shape of a run: L tokens a row, T targets a row."""

  length: int
  targets: int

  @classmethod
  def of(cls, rows: Sequence[Row], multiple: int = 16) -> 'Shape':
    """The least multiples that hold every row."""
    return cls(
      _up(max(len(r.tokens) for r in rows), multiple),
      _up(max(sum(w != 0 for w in r.weights[1:]) for r in rows), multiple),
    )


def pack(rows: Sequence[Row], shape: Shape) -> Batch:
  """Rows as arrays; a row that is too long is our own mistake."""
  B, L, T = len(rows), shape.length, shape.targets
  batch = Batch(
    np.zeros((B, L), np.int32),
    np.zeros((B, T), np.int32),
    np.zeros((B, T), np.int32),
    np.zeros((B, T), np.float32),
  )
  for b, row in enumerate(rows):
    tokens, weights = np.array(row.tokens), np.array(row.weights)
    (at,) = np.nonzero(weights[1:])
    batch.tokens_BL[b, : len(tokens)] = tokens
    batch.place_BT[b, : len(at)] = at
    batch.target_BT[b, : len(at)] = tokens[at + 1]
    batch.weight_BT[b, : len(at)] = weights[at + 1]
  return batch


def rows_of_step(count: int, *, seed: int, step: int, size: int) -> list[int]:
  """Which of `count` rows make up a batch: a pure function of (seed, step).

  Rows are visited in a new random order each epoch, none twice in one epoch.
  """
  places = range(step * size, (step + 1) * size)
  orders = {
    epoch: np.random.default_rng([seed, epoch]).permutation(count)
    for epoch in {place // count for place in places}
  }
  return [int(orders[place // count][place % count]) for place in places]


def _up(n: int, multiple: int) -> int:
  return -(-n // multiple) * multiple
