"""Copies in a profile: of its own documents, and of the output asked for.

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
  """'It works--GREAT!'  ->  it, works, great; a text without words is one."""
  return tokens.words(text) or text.split()


@dataclasses.dataclass(frozen=True)
class Copies:
  """Places in a profile."""

  repeated: list[int]  # of documents that repeat an earlier one
  leaked: dict[int, float]  # of the output's near-copies, their share of it


def find_copies(output: str, profile: Sequence[types.Document]) -> Copies:
  """Reads every document once."""
  gold = normalized_words(output)
  long = sum(map(tokens.eighths, gold)) >= SHORT * 8
  runs = set(_runs(gold)) if long else set()
  seen, found = set(), Copies([], {})
  for n, document in enumerate(profile):
    text = normalized_words(document.text)
    key = hashlib.blake2b(' '.join(text).encode(), digest_size=16).digest()
    if key in seen:
      found.repeated.append(n)
    seen.add(key)
    share = _share(gold, runs, text)
    if share >= NEAR:
      found.leaked[n] = share
  return found


def removed(
  examples: Iterable[types.Example],
  *,
  dedupe: bool,
  drop_leaks: bool,
  counts: dict[str, int],
) -> Iterator[types.Example]:
  """The examples without repeated documents, without near-copies, or both.

  Adds to counts['repeated_documents'] and counts['leaked_documents'] as they
  go; what is both counts as repeated.
  """
  counts |= dict.fromkeys(COUNTS, 0) | counts
  for example in examples:
    found = find_copies(example.output, example.profile)
    twice = set(found.repeated) if dedupe else set()
    leaked = found.leaked.keys() - twice if drop_leaks else set()
    for name, places in zip(COUNTS, (twice, leaked), strict=True):
      counts[name] += len(places)
    kept = [
      document
      for n, document in enumerate(example.profile)
      if n not in twice and n not in leaked
    ]
    yield dataclasses.replace(example, profile=tuple(kept))


def _share(gold: list[str], runs: set[tuple], text: list[str]) -> float:
  """Of an output that a document has; 0 where it can be no near-copy."""
  if text == gold:
    return 1.0
  if not runs or len(text) < NEAR * len(runs):
    return 0.0
  return len(runs.intersection(_runs(text))) / len(runs)


def _runs(text: list[str]) -> Iterator[tuple[str, ...]]:
  """Of RUN words each, or of as many characters as make them up."""
  if all(map(str.isascii, text)):
    yield from zip(*(text[n:] for n in range(RUN)), strict=False)
    return
  sizes = list(map(tokens.eighths, text))
  end = size = 0
  for begin in range(len(text)):
    while size < RUN * 8 and end < len(text):
      size += sizes[end]
      end += 1
    if size < RUN * 8:
      return
    yield tuple(text[begin:end])
    size -= sizes[begin]
