"""States the work that all samplers of a benchmark do."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Job:
  """The samples to draw, and the settings of drawing."""

  folder: str  # holds the weights: ours/, hf/, gemma/
  tokenizer: str  # a SentencePiece file; empty: ids are words
  prompts: list[list[int]]
  limits: list[list[int]] | None  # tokens of each sample; None: natural
  m: int  # samples an input
  max_output: int  # tokens
  stop: int
  temperature: float
  top_p: float
  batch: int  # inputs side by side
  slots: int  # samples of an input side by side, of ours; others take all m
  spare: int  # the last inputs are short ones, to compile with
  threads: int

  def limit(self, inputs: list[int]) -> int:
    """The longest sample of these inputs may have so many tokens."""
    if self.limits is None:
      return self.max_output
    return max(max(self.limits[n]) for n in inputs)

  def lengths(self, inputs: list[int], tokens) -> list[list[int]]:
    """tokens [samples of all inputs, T] -> their number in each sample."""
    if self.limits is not None:
      return [self.limits[n] for n in inputs]
    ended = np.asarray(tokens) == self.stop
    counts = np.where(
      ended.any(axis=1), ended.argmax(axis=1) + 1, self.max_output
    )
    return counts.reshape(len(inputs), self.m).tolist()
