"""Chooses what people are asked: pairs of answers, and answers to rate.

A form has a name made from all that is in it, and the ids of its items begin
with that name. So a sheet that comes back says which form it belongs to, and
the key of the form, which people do not see, says what stood where.
"""

import dataclasses
import hashlib
import itertools
import json
import random
import warnings
from collections.abc import Sequence

from restpg_jax import errors, types
from restpg_jax.report import answers

PAIRS, RATINGS = 'pairs', 'ratings'
COLUMN = {PAIRS: 'choice', RATINGS: 'rating'}  # which people fill
VALUES = {PAIRS: ('A', 'B'), RATINGS: ('1', '2', '3', '4', '5')}
EPSILON = 1e-9  # 0.7 - 0.2 is a little less than 0.5


@dataclasses.dataclass(frozen=True)
class Text:
  """An answer that people judge, and what is kept from them."""

  text: str
  method: str  # its label
  t: int  # iteration
  j: int
  reward: float
  true_score: float | None  # known for synthetic users only


@dataclasses.dataclass(frozen=True)
class Item:
  """A question of a form: two texts to choose from, or one to rate."""

  id: str  # FORM-NUMBER
  example_id: str
  task: str
  instruction: str
  expected: str  # the gold text
  texts: tuple[Text, ...]  # A and B, or the one


@dataclasses.dataclass(frozen=True)
class Form:
  """Questions in the order in which people see them."""

  kind: str  # PAIRS or RATINGS
  name: str
  items: tuple[Item, ...]


Group = tuple[types.Example, list[Text]]  # an example and its answers


def pairs_form(
  evaluations: Sequence[answers.Evaluation],
  *,
  gap: float,
  count: int,
  seed: int,
) -> Form:
  """Returns pairs of answers to one input whose rewards are `gap` apart.

  As in appendix A of the paper: at most `count`, one of each input, so that
  they are independent. `seed` decides which, their order, and which text of a
  pair is A. Raises InputError where there is no such pair.
  """
  rng = random.Random(f'pairs {seed}')
  drawn, widest = [], 0.0
  for example, texts in _groups(evaluations):
    pairs = [p for p in itertools.combinations(texts, 2) if _differ(*p)]
    widest = max([widest, *(abs(a.reward - b.reward) for a, b in pairs)])
    apart = [
      (a, b) for a, b in pairs if abs(a.reward - b.reward) >= gap - EPSILON
    ]
    if apart:
      pair = list(rng.choice(apart))
      rng.shuffle(pair)
      drawn.append((example, pair))
  if not drawn:
    raise errors.InputError(
      f'--gap={gap:g}: no two answers to one input are so far apart; the '
      f'widest gap is {widest:g}: lower --gap, or finish another method in '
      'this workdir'
    )
  return _form(PAIRS, drawn, count, rng)


def ratings_form(
  evaluations: Sequence[answers.Evaluation], *, count: int, seed: int
) -> Form:
  """Returns at most `count` answers to rate from 1 to 5, one of each input.

  They are drawn at random, not by their rewards: a choice of extremes would
  raise the correlation.
  """
  rng = random.Random(f'ratings {seed}')
  drawn = [
    (example, [rng.choice(texts)]) for example, texts in _groups(evaluations)
  ]
  return _form(RATINGS, drawn, count, rng)


def _form(
  kind: str, drawn: list[Group], count: int, rng: random.Random
) -> Form:
  """Shuffles and numbers what was drawn."""
  rng.shuffle(drawn)
  if len(drawn) < count:
    warnings.warn(
      f'the form of {kind} has {len(drawn)} items, not {count}: there are no '
      'more inputs that will do',
      errors.DataWarning,
      stacklevel=3,
    )
  items = [
    Item('', e.id, e.task, e.input, e.output, tuple(texts))
    for e, texts in drawn[:count]
  ]
  content = json.dumps([dataclasses.asdict(item) for item in items])
  name = hashlib.sha256(f'{kind}{content}'.encode()).hexdigest()[:8]
  return Form(
    kind,
    name,
    tuple(
      dataclasses.replace(item, id=f'{name}-{n:03}')
      for n, item in enumerate(items, 1)
    ),
  )


def _groups(evaluations: Sequence[answers.Evaluation]) -> list[Group]:
  """Returns the answers that have a text, by example, in one order always."""
  groups: dict[tuple[str, str, str], Group] = {}
  for e in evaluations:
    for a in e.answers:
      if a.text and a.text.strip():
        key = a.example.id, a.example.input, a.example.output
        _, texts = groups.setdefault(key, (a.example, []))
        texts.append(Text(a.text, e.method, e.t, a.j, a.reward, a.true_score))
  return [groups[key] for key in sorted(groups)]


def _differ(a: Text, b: Text) -> bool:
  return a.text.strip() != b.text.strip()
