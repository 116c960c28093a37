"""Counts in one pass what the examples of a task and split are like.

Words are counted exactly, and so are copies (data/copies.py). Memory holds only
histograms, the ids of the longest texts, and two random samples: of documents,
whose tokens are counted, and of examples, to make prompts of.
"""

import collections
import dataclasses
import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from restpg_jax import types
from restpg_jax.data import copies
from restpg_jax.text import words

DOCUMENTS = 2000  # in the sample of a task and split
EXAMPLES = 256  # in the sample of a task and split
SHOWN = 5  # near-copies that are shown
EXCERPT = 300  # characters of each


class Lengths:
  """A histogram; its memory grows with the longest, not with their number."""

  def __init__(self, lengths: Iterable[int] = ()) -> None:
    self._counts = collections.Counter(lengths)

  def add(self, length: int) -> None:
    self._counts[length] += 1

  def above(self, limit: int) -> int:
    """Returns the number of lengths over the limit."""
    return sum(n for length, n in self._counts.items() if length > limit)

  def summary(self) -> dict[str, float] | None:
    """Returns mean, std (of the population), p90 (nearest rank) and largest."""
    total = self._counts.total()
    if not total:
      return None
    mean = sum(x * n for x, n in self._counts.items()) / total
    square = sum((x - mean) ** 2 * n for x, n in self._counts.items()) / total
    return {
      'mean': mean,
      'std': math.sqrt(square),
      'p90': self._rank(math.ceil(0.9 * total)),
      'largest': max(self._counts),
    }

  def _rank(self, rank: int) -> int:
    """Returns the rank-th smallest length, counted from 1."""
    for length in sorted(self._counts):
      rank -= self._counts[length]
      if rank <= 0:
        return length
    raise ValueError(rank)


class Reservoir:
  """A uniform sample of at most `size` of all items offered."""

  def __init__(self, size: int) -> None:
    self.items = []
    self._size, self._offered = size, 0
    self._rng = random.Random(0)  # fixed: a second survey shows the same

  def offer(self, item: Any) -> None:
    # Algorithm R: the n-th item replaces another with probability size / n.
    self._offered += 1
    if len(self.items) < self._size:
      self.items.append(item)
    elif (n := self._rng.randrange(self._offered)) < self._size:
      self.items[n] = item


@dataclasses.dataclass(frozen=True)
class Longest:
  """The longest of all texts of a field."""

  field: str
  characters: int
  place: str  # the example's id and, of a document, its number from 1


@dataclasses.dataclass(frozen=True)
class Leak:
  """A near-copy of an output in the profile that goes with it."""

  place: str
  share: float  # of the output's runs of words
  output: str  # how it begins
  document: str


class Census:
  """The counts of one task and split; `add` takes its examples one by one."""

  def __init__(self, count_tokens: Callable[[str], int] | None = None) -> None:
    self._count_tokens = count_tokens  # None: without a tokenizer
    self.input_words, self.output_words = Lengths(), Lengths()
    self.input_tokens, self.output_tokens = Lengths(), Lengths()
    self.profiles = Lengths()  # documents
    self.number = 0  # of examples
    self.documents = self.repeated = self.leaked = 0
    self.with_repeated = self.with_leaked = 0  # examples
    self.leaks: list[Leak] = []
    self.longest: dict[str, Longest] = {}
    self.texts, self.examples = Reservoir(DOCUMENTS), Reservoir(EXAMPLES)

  def add(self, example: types.Example) -> None:
    self.input_words.add(len(words.spaced(example.input).split()))
    self.output_words.add(len(words.spaced(example.output).split()))
    if self._count_tokens:
      self.input_tokens.add(self._count_tokens(example.input))
      self.output_tokens.add(self._count_tokens(example.output))
    self.number += 1
    self.profiles.add(len(example.profile))
    self.documents += len(example.profile)
    for document in example.profile:
      self.texts.offer(document.text)
    self._note_copies(example)
    self._note_longest(example)
    self.examples.offer(example)

  def through(self, examples: Iterable[types.Example]) -> Iterator[int]:
    """Adds all examples; yields their number so far after each."""
    for example in examples:
      self.add(example)
      yield self.number

  def summary(self) -> dict[str, Any]:
    """Returns the counts as JSON; tokens of documents are those of a sample."""
    tokens = self._count_tokens and {
      'inputs': self.input_tokens.summary(),
      'outputs': self.output_tokens.summary(),
      'documents': Lengths(map(self._count_tokens, self.texts.items)).summary(),
    }
    return {
      'examples': self.number,
      'input_words': self.input_words.summary(),
      'output_words': self.output_words.summary(),
      'profiles': self.profiles.summary(),
      'tokens': tokens,
      'documents': self.documents,
      'repeated': self.repeated,
      'with_repeated': self.with_repeated,
      'leaked': self.leaked,
      'with_leaked': self.with_leaked,
      'leaks': [dataclasses.asdict(leak) for leak in self.leaks],
      'longest': [dataclasses.asdict(x) for x in self.longest.values()],
    }

  def _note_copies(self, example: types.Example) -> None:
    copied = copies.find_copies(example.output, example.profile)
    self.repeated += len(copied.repeated)
    self.with_repeated += bool(copied.repeated)
    self.leaked += len(copied.leaked)
    self.with_leaked += bool(copied.leaked)
    for n, share in copied.leaked.items():
      if len(self.leaks) < SHOWN:
        text = example.profile[n].text
        begins = _begin(example.output), _begin(text)
        self.leaks.append(Leak(_document_name(example, n), share, *begins))

  def _note_longest(self, example: types.Example) -> None:
    self._longer('input', example.input, example.id)
    self._longer('output', example.output, example.id)
    for n, document in enumerate(example.profile):
      self._longer('document', document.text, _document_name(example, n))

  def _longer(self, field: str, text: str, location: str) -> None:
    before = self.longest.get(field)
    if not before or len(text) > before.characters:
      self.longest[field] = Longest(field, len(text), location)


def _document_name(example: types.Example, n: int) -> str:
  return f'{example.id}, document {n + 1}'


def _begin(text: str) -> str:
  return text if len(text) <= EXCERPT else f'{text[:EXCERPT]} ...'
