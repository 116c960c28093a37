"""Generates the synthetic world: users with known traits who write texts.

A user has four traits of *style* (how she opens, closes, stresses and hedges)
and three of *life* (household, job, hobby). Style stands in her documents word
for word. Life is two hops away: a document mentions a thing (a stroller), the
thing tells the value (a toddler at home), and a table of rules tells what that
value asks of the item at hand (a heater needs safety). Neither the thing nor
the value is in the request, so an answer is only right when somebody reasoned.
A neighbour's things (distractors) invite the wrong conclusion.

Rows come in the exact schema of LongLaMP, with one more field, `truth`: the
words that fit the user. `true_score` compares an answer with them, and so
measures personalisation without any judge.
"""

import dataclasses
import functools
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from restpg_jax import types
from restpg_jax.data import grammar

RULES_SEED = 4167  # the rules are a fact of the world: the same for every seed
SPLITS = {  # by a hash of the traits: nobody is in two of them
  'pretrain': range(0, 5),
  'train': range(5, 8),
  'val': range(8, 9),
  'test': range(9, 10),
}


@dataclasses.dataclass(frozen=True)
class User:
  """A writer and all there is to know about her."""

  name: str
  traits: dict[str, str]  # trait -> value, all of grammar.TRAITS
  documents: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Noise:
  """How far the world is from a textbook; each is a probability."""

  mention: float = 0.45  # a style word stands in a document
  slip: float = 0.08  # .. but it is another value's word
  neighbour: float = 0.5  # a neighbour's thing is mentioned, for each trait
  gold: float = 0.10  # a gold slot deviates from the user's trait


NOISE = Noise()
DOCUMENTS = 7  # in a profile; each life trait is shown by two of them


@functools.cache
def rules() -> dict[tuple[str, str, str], str]:
  """Returns (trait, item, value) -> aspect: 432 facts, half of them exceptions.

  For half of the items the i-th value asks for the i-th aspect; for the other
  half the aspects are permuted, which has to be known by heart.
  """
  rng = random.Random(RULES_SEED)
  table = {}
  for trait, values in grammar.LIVES.items():
    items = [item for items in grammar.ITEMS.values() for item in items]
    for n, item in enumerate(items):
      aspects = list(grammar.ASPECTS[trait])
      if n % 2:
        rng.shuffle(aspects)
      table |= {
        (trait, item, value): aspect
        for value, aspect in zip(values, aspects, strict=True)
      }
  return table


def fitting(traits: dict[str, str], task: str, item: str) -> dict[str, str]:
  """Returns slot -> the word that fits a user with these traits."""
  return {
    slot: traits[slot]
    if slot in grammar.STYLES
    else rules()[slot, item, traits[slot]]
    for slot in grammar.SLOTS[task]
  }


def true_score(text: str, truth: Sequence[types.TruthSlot]) -> float:
  """Returns the share of slots filled with the user's own word and no other.

  truth: opener Hello; 'Hello, ..' -> 1, 'Ahoy, Hello, ..' -> 0, '' -> 0
  """
  words = set(re.findall(r'\w+', text))
  hits = [words & set(slot.among) == {slot.want} for slot in truth]
  return sum(hits) / len(hits)


def users(split: str, seed: int) -> Iterator[User]:
  """Yields users of a split endlessly, different ones for every seed."""
  rng = random.Random(f'{split} {seed}')
  number = 0
  while True:
    traits = {
      trait: rng.choice(words) for trait, words in grammar.STYLES.items()
    }
    traits |= {
      t: rng.choice(list(values)) for t, values in grammar.LIVES.items()
    }
    # Not hash(), which differs between processes.
    bucket = zlib.crc32(' '.join(traits.values()).encode()) % 10
    if bucket in SPLITS[split]:
      yield User(f'{split}-{seed}-{number}', traits, ())
      number += 1


def rows(
  task: str, split: str, *, seed: int, count: int
) -> list[dict[str, Any]]:
  """Returns `count` rows of a task in LongLaMP's schema, one user each."""
  rng = random.Random(f'rows {task} {split} {seed}')
  offset = types.TASKS.index(task)
  # Tasks share a seed's users without sharing a user.
  people = _every(users(split, seed), len(types.TASKS), offset)
  return [_row(next(people), task, rng) for _ in range(count)]


def write_documents(user: User, task: str, rng: random.Random) -> User:
  """Returns the user with a profile: DOCUMENTS texts in the task's genre."""
  things = [
    rng.choice(grammar.LIVES[trait][user.traits[trait]])
    for trait in grammar.LIVES
    for _ in range(2)
  ]
  things += [None] * (DOCUMENTS - len(things))
  texts = [_document(user.traits, task, thing, rng) for thing in things]
  for trait in grammar.LIVES:
    if rng.random() < NOISE.neighbour:
      others = [v for v in grammar.LIVES[trait] if v != user.traits[trait]]
      thing = rng.choice(grammar.LIVES[trait][rng.choice(others)])
      n = rng.randrange(len(texts))
      texts[n] += f' {grammar.gossip(thing, rng)}'
  rng.shuffle(texts)
  return dataclasses.replace(user, documents=tuple(texts))


def _row(user: User, task: str, rng: random.Random) -> dict[str, Any]:
  user = write_documents(user, task, rng)
  item = rng.choice(grammar.ITEMS[task])
  truth = fitting(user.traits, task, item)
  gold = {
    slot: _other(grammar.choices(slot), word, rng)
    if rng.random() < NOISE.gold
    else word
    for slot, word in truth.items()
  }
  field = {
    'email_generation': 'user_id',
    'abstract_generation': 'name',
    'product_review': 'reviewerId',
    'topic_writing': 'author',
  }[task]
  return {
    field: user.name,
    'input': grammar.user_request(task, item, rng),
    'output': grammar.answer(task, item, gold, rng),
    'profile': [
      _profile_item(user.name, n, task, text, rng)
      for n, text in enumerate(user.documents)
    ],
    'truth': [
      {'want': word, 'among': list(grammar.choices(slot))}
      for slot, word in truth.items()
    ],
  }


def _profile_item(
  name: str, n: int, task: str, text: str, rng: random.Random
) -> dict[str, Any]:
  title = f'{rng.choice(grammar.ADJECTIVES)} {rng.choice(grammar.ITEMS[task])}'
  return {
    'email_generation': {'id': f'{name}-{n}', 'title': title, 'text': text},
    'abstract_generation': {
      'id': f'{name}-{n}',
      'title': title,
      'abstract': text,
      'year': rng.randint(2000, 2024),
    },
    'product_review': {
      'overall': float(rng.randint(1, 5)),
      'summary': rng.choice(grammar.ADJECTIVES),
      'description': title,
      'reviewText': text,
    },
    'topic_writing': {
      'id': f'{name}-{n}',
      'author': name,
      'summary': title,
      'content': text,
    },
  }[task]


def _document(
  traits: dict[str, str], task: str, thing: str | None, rng: random.Random
) -> str:
  """Returns one text: some style words, and a thing of the user's life."""
  style_words = {
    trait: _other(words, traits[trait], rng)
    if rng.random() < NOISE.slip
    else traits[trait]
    for trait, words in grammar.STYLES.items()
    if rng.random() < NOISE.mention
  }
  return grammar.user_document(task, thing, style_words, rng)


def _other(words: Sequence[str], word: str, rng: random.Random) -> str:
  return rng.choice([w for w in words if w != word])


def _every(people: Iterator[User], step: int, offset: int) -> Iterator[User]:
  """Yields every step-th user, from the one at the offset on."""
  for n, user in enumerate(people):
    if n % step == offset:
      yield user
