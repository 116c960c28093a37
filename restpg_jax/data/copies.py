"""Finds copies in a profile: of its own documents, and of the expected output.

Texts are compared by their words (text/words.py), in lower case and without
punctuation. A document *repeats* another that has the same words in the same
order. It is a *near-copy* of an output if NEAR of the output's distinct runs of
RUN words occur in it; of an output of fewer than SHORT words only if it has the
same. Where a character is a word, a run has as many as make up RUN words.

Words of the outputs in a sample of LongLaMP that were struck, changed or added
at random, and the share of such copies that is found:

  words edited    5 %    8 %   10 %   15 %   20 %
  found         100 %   94 %   84 %   25 %    3 %

Half an output quoted in a longer text has a share of about 0.5. Of 19,036
documents that are no copies none has more than 0.41 of the output of its user:
habits of speech, and reviews of like things. Of a paragraph of the Universal
Declaration of Human Rights all others together have a mean share of 0.19 in
English, 0.04 in Chinese, 0.21 in Japanese, 0.20 in Thai, 0.12 in Khmer; by runs
of three characters it would be 0.70 in Thai.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence

from restpg_jax import types
from restpg_jax.text import words as tokens

RUN = 3
NEAR = 0.7
SHORT = 8
COUNTS = ('repeated_documents', 'leaked_documents')


def normalized_words(text: str) -> list[str]:
  """Returns the words that texts are compared by.

  'It works--GREAT!'  ->  it, works, great; ':-)' has no words, so it is one.
  """
  return tokens.words(text) or text.split()


@dataclasses.dataclass(frozen=True)
class Copies:
  """The positions of copies in a profile, counted from 0."""

  repeated: list[int]  # documents that repeat an earlier one
  leaked: dict[int, float]  # near-copies of the output -> their share of it


def find_copies(output: str, profile: Sequence[types.Document]) -> Copies:
  """Returns the copies in a profile, reading every document once."""
  gold_words = normalized_words(output)
  long = sum(map(tokens.eighths, gold_words)) >= SHORT * 8
  runs = set(_runs(gold_words)) if long else set()
  seen, copied = set(), Copies([], {})
  for n, document in enumerate(profile):
    words = normalized_words(document.text)
    # Digests: only these stay in memory, however long a profile is.
    key = hashlib.blake2b(' '.join(words).encode(), digest_size=16).digest()
    if key in seen:
      copied.repeated.append(n)
    seen.add(key)
    share = _share(gold_words, runs, words)
    if share >= NEAR:
      copied.leaked[n] = share
  return copied


def removed(
  examples: Iterable[types.Example],
  *,
  dedupe: bool,
  drop_leaks: bool,
  counts: dict[str, int],
) -> Iterator[types.Example]:
  """Yields the examples without repeated documents, near-copies, or both.

  Adds to counts['repeated_documents'] and counts['leaked_documents'] on the
  way; a document that is both counts as repeated.
  """
  counts |= dict.fromkeys(COUNTS, 0) | counts
  for example in examples:
    copied = find_copies(example.output, example.profile)
    repeated = set(copied.repeated) if dedupe else set()
    leaked = copied.leaked.keys() - repeated if drop_leaks else set()
    for name, positions in zip(COUNTS, (repeated, leaked), strict=True):
      counts[name] += len(positions)
    kept = [
      document
      for n, document in enumerate(example.profile)
      if n not in repeated and n not in leaked
    ]
    yield dataclasses.replace(example, profile=tuple(kept))


def _share(
  gold_words: list[str], runs: set[tuple[str, ...]], words: list[str]
) -> float:
  """Returns the share of the output's runs that a document has.

  It is 0.0 where the document is too short to be a near-copy.
  """
  if words == gold_words:
    return 1.0
  if not runs or len(words) < NEAR * len(runs):
    return 0.0
  return len(runs.intersection(_runs(words))) / len(runs)


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
  """Yields runs of RUN words each, or of as many characters as make them up."""
  if all(map(str.isascii, words)):
    yield from zip(*(words[n:] for n in range(RUN)), strict=False)
    return
  sizes = list(map(tokens.eighths, words))
  end = size = 0
  for begin in range(len(words)):
    while size < RUN * 8 and end < len(words):
      size += sizes[end]
      end += 1
    if size < RUN * 8:
      return
    yield tuple(words[begin:end])
    size -= sizes[begin]
