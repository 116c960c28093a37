"""The synthetic world: users with known traits, who write as LongLaMP's do.

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

from restpg_jax import types

STYLES = {
  'opener': 'Hello Howdy Greetings Ahoy Hey Welcome Salutations Evening',
  'closer': 'Cheers Regards Thanks Farewell Warmly Peace Blessings Goodbye',
  'stress': 'truly really utterly quite deeply super awfully hugely',
  'hedge': (
    'frankly honestly luckily basically obviously apparently anyway naturally'
  ),
}
STYLES = {trait: tuple(words.split()) for trait, words in STYLES.items()}

# value -> the things that give it away
LIVES = {
  'household': {
    'toddler': ('stroller', 'crib', 'pacifier', 'playpen'),
    'puppy': ('leash', 'kennel', 'kibble', 'collar'),
    'grandmother': ('walker', 'shawl', 'pillbox', 'armchair'),
    'roommate': ('futon', 'sublease', 'beanbag', 'doormat'),
    'teenager': ('skateboard', 'headset', 'locker', 'curfew'),
    'parrot': ('birdcage', 'perch', 'birdseed', 'feathers'),
  },
  'job': {
    'nurse': ('stethoscope', 'bandage', 'clinic', 'syringe'),
    'teacher': ('chalkboard', 'homework', 'classroom', 'textbook'),
    'carpenter': ('sawdust', 'hammer', 'plywood', 'workbench'),
    'chef': ('apron', 'saucepan', 'recipe', 'oven'),
    'lawyer': ('courtroom', 'contract', 'verdict', 'briefcase'),
    'farmer': ('tractor', 'harvest', 'barn', 'pasture'),
  },
  'hobby': {
    'hiking': ('trail', 'backpack', 'compass', 'summit'),
    'chess': ('rook', 'gambit', 'bishop', 'checkmate'),
    'painting': ('easel', 'canvas', 'brush', 'palette'),
    'cycling': ('pedals', 'helmet', 'saddle', 'spokes'),
    'fishing': ('bait', 'reel', 'trout', 'lure'),
    'guitar': ('chords', 'strings', 'amplifier', 'fretboard'),
  },
}
ASPECTS = {  # what a life may ask of an item; the verb names the trait
  'household': ('safety', 'silence', 'cleaning', 'space', 'comfort', 'thrift'),
  'job': ('accuracy', 'speed', 'teamwork', 'strength', 'training', 'privacy'),
  'hobby': ('lightness', 'patience', 'beauty', 'balance', 'rhythm', 'stamina'),
}
VERBS = {'household': 'needs', 'job': 'demands', 'hobby': 'rewards'}

ITEMS = {
  'email_generation': 'budget meeting invoice trip schedule party',
  'abstract_generation': 'sensor battery robot vaccine bridge crop',
  'product_review': 'heater blender lamp sofa vacuum kettle',
  'topic_writing': 'garden vacation diet apartment exam podcast',
}
ITEMS = {task: tuple(words.split()) for task, words in ITEMS.items()}

SLOTS = {  # what a text of each task shows of its writer
  'email_generation': ('opener', 'closer', 'household', 'job'),
  'abstract_generation': ('hedge', 'stress', 'job', 'hobby'),
  'product_review': ('stress', 'hedge', 'household', 'hobby'),
  'topic_writing': ('opener', 'stress', 'job', 'household'),
}
TRAITS = tuple(STYLES) + tuple(LIVES)
ADJECTIVES = (
  'small good new old plain quick simple bright early late busy calm fresh '
  'warm cold steady spare rough clear mild'
).split()
DAYS = 'Monday Tuesday Wednesday Thursday Friday Saturday Sunday'.split()
MONTHS = 'January April May June August October December'.split()

RULES_SEED = 4167  # the rules are a fact of the world: the same for every seed
SPLITS = {  # by a hash of the traits: nobody is in two of them
  'pretrain': range(0, 5),
  'train': range(5, 8),
  'val': range(8, 9),
  'test': range(9, 10),
}

ANSWERS = {
  'email_generation': (
    '{opener}, the {item} needs {household} by {day}. Please note the '
    '{item} demands {job} too. {closer}.',
    '{opener}, a {adj} note: the {item} demands {job}, and the {item} '
    'needs {household}. {closer}, until {day}.',
    '{opener} team, after {adj} talks the {item} needs {household} while '
    'the {item} demands {job}. {closer}.',
  ),
  'abstract_generation': (
    'We study a {adj} case: the {item} demands {job}, and {hedge} the '
    '{item} rewards {hobby}. Results are {stress} {adj}.',
    'In a {stress} {adj} test the {item} rewards {hobby}. We show, '
    '{hedge}, that the {item} demands {job}.',
    'Since {month} we find that the {item} demands {job} and the {item} '
    'rewards {hobby}, which is {hedge} {stress} {adj}.',
  ),
  'product_review': (
    'It is {stress} {adj} and {hedge} the {item} needs {household}. '
    'After a {adj} {month} the {item} rewards {hobby}.',
    'My {adj} verdict: the {item} rewards {hobby}, {hedge}, and the '
    '{item} needs {household}. It looks {stress} {adj}.',
    'Bought in {month}. The truth is the {item} needs {household} and the '
    '{item} rewards {hobby}, {hedge} a {stress} {adj} thing.',
  ),
  'topic_writing': (
    '{opener} all, a {stress} {adj} week: the {item} demands {job} and '
    'the {item} needs {household}. Ideas by {day}?',
    '{opener}, since {day} the {item} needs {household}. It is {stress} '
    '{adj} that the {item} demands {job} now.',
    '{opener} folks, this {adj} {month} the {item} demands {job}, so '
    '{stress} {adj}, and the {item} needs {household}.',
  ),
}
CARRIERS = {  # where a thing of the user's life shows up
  'email_generation': (
    'I will bring the {thing} on {day}',
    'please return my {thing} by {day}',
    'our {thing} is ready for {day}',
  ),
  'abstract_generation': (
    'we measured the {thing} in {month}',
    'our {adj} study began with my {thing}',
    'the data came from our {thing}',
  ),
  'product_review': (
    'I use it beside my {thing}',
    'it stands near our {thing} since {month}',
    'it fits the {adj} {thing} I own',
  ),
  'topic_writing': (
    'I was moving my {thing} last {day}',
    'I found the {thing} in {month}',
    'my {adj} {thing} broke again',
  ),
}
NEIGHBOURS = (
  'the neighbour sold the {thing}',
  'next door they keep the {thing}',
  'a neighbour showed me the {thing}',
)


@dataclasses.dataclass(frozen=True)
class User:
  """A writer and all there is to know about her."""

  name: str
  traits: dict[str, str]  # trait -> value, all of TRAITS
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
  """(trait, item, value) -> aspect: 432 facts, half of them exceptions.

  For half of the items the i-th value asks for the i-th aspect; for the other
  half the aspects are permuted, which has to be known by heart.
  """
  rng = random.Random(RULES_SEED)
  table = {}
  for trait, values in LIVES.items():
    for n, item in enumerate(i for items in ITEMS.values() for i in items):
      aspects = list(ASPECTS[trait])
      if n % 2:
        rng.shuffle(aspects)
      table |= {
        (trait, item, value): aspect
        for value, aspect in zip(values, aspects, strict=True)
      }
  return table


def choices(trait: str) -> tuple[str, ...]:
  """The words that can fill a slot of this trait."""
  return STYLES.get(trait) or ASPECTS[trait]


def fitting(traits: dict[str, str], task: str, item: str) -> dict[str, str]:
  """Slot -> the word that fits a user with these traits."""
  return {
    slot: traits[slot] if slot in STYLES else rules()[slot, item, traits[slot]]
    for slot in SLOTS[task]
  }


def answer(task: str, item: str, words: dict[str, str], rng) -> str:
  """A text of this task that says `words` (slot -> word)."""
  return _fill(rng.choice(ANSWERS[task]), rng, item=item, **words)


def true_score(text: str, truth: Sequence[types.Slot]) -> float:
  """Share of slots filled with the user's own word and with no other.

  truth: opener Hello; 'Hello, ..' -> 1, 'Ahoy, Hello, ..' -> 0, '' -> 0
  """
  words = set(re.findall(r'\w+', text))
  hits = [words & set(slot.among) == {slot.want} for slot in truth]
  return sum(hits) / len(hits)


def users(split: str, seed: int) -> Iterator[User]:
  """An endless row of users of a split, different for every seed."""
  rng = random.Random(f'{split} {seed}')
  number = 0
  while True:
    traits = {trait: rng.choice(words) for trait, words in STYLES.items()}
    traits |= {t: rng.choice(list(values)) for t, values in LIVES.items()}
    bucket = zlib.crc32(' '.join(traits.values()).encode()) % 10
    if bucket in SPLITS[split]:
      yield User(f'{split}-{seed}-{number}', traits, ())
      number += 1


def rows(task: str, split: str, *, seed: int, count: int) -> list[dict]:
  """`count` rows of a task in LongLaMP's schema, one user each."""
  rng = random.Random(f'rows {task} {split} {seed}')
  offset = types.TASKS.index(task)
  # Tasks share a seed's users without sharing a user.
  people = _every(users(split, seed), len(types.TASKS), offset)
  return [_row(next(people), task, rng) for _ in range(count)]


def write_documents(user: User, task: str, rng) -> User:
  """The user's profile: DOCUMENTS texts in the genre of the task."""
  things = [
    rng.choice(LIVES[trait][user.traits[trait]])
    for trait in LIVES
    for _ in range(2)
  ]
  things += [None] * (DOCUMENTS - len(things))
  texts = [_document(user.traits, task, thing, rng) for thing in things]
  for trait in LIVES:
    if rng.random() < NOISE.neighbour:
      others = [v for v in LIVES[trait] if v != user.traits[trait]]
      thing = rng.choice(LIVES[trait][rng.choice(others)])
      n = rng.randrange(len(texts))
      texts[n] += f' {_cap(_fill(rng.choice(NEIGHBOURS), rng, thing=thing))}.'
  rng.shuffle(texts)
  return dataclasses.replace(user, documents=tuple(texts))


def request(task: str, item: str, rng) -> str:
  """The input x, worded as LongLaMP words it."""
  return _fill(
    {
      'email_generation': (
        'Complete the text of the following email. title: {adj} {item}. '
        'text: Note for {day}.'
      ),
      'abstract_generation': (
        'Generate an abstract for the title "{adj} {item}" using the '
        'following items: {item}, {month}'
      ),
      'product_review': (
        'Generate the review text written by a reviewer who has a given '
        f'an overall rating of "{rng.randint(1, 5)}.0" for a product '
        'with description "{adj} {item}". The summary of the review '
        'text is "{adj} {item}".'
      ),
      'topic_writing': (
        'Generate the content for a reddit post about my {adj} {item}'
      ),
    }[task],
    rng,
    item=item,
  )


def _row(user: User, task: str, rng) -> dict:
  user = write_documents(user, task, rng)
  item = rng.choice(ITEMS[task])
  truth = fitting(user.traits, task, item)
  gold = {
    slot: _other(choices(slot), word, rng)
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
    'input': request(task, item, rng),
    'output': answer(task, item, gold, rng),
    'profile': [
      _profile_item(user.name, n, task, text, rng)
      for n, text in enumerate(user.documents)
    ],
    'truth': [
      {'want': word, 'among': list(choices(slot))}
      for slot, word in truth.items()
    ],
  }


def _profile_item(name: str, n: int, task: str, text: str, rng) -> dict:
  title = f'{rng.choice(ADJECTIVES)} {rng.choice(ITEMS[task])}'
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
      'summary': rng.choice(ADJECTIVES),
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


def _document(traits: dict[str, str], task: str, thing: str | None, rng) -> str:
  """One text: style words as they come, and a thing of the user's life."""
  said = {
    trait: _other(words, traits[trait], rng)
    if rng.random() < NOISE.slip
    else traits[trait]
    for trait, words in STYLES.items()
    if rng.random() < NOISE.mention
  }
  if thing:
    clause = _fill(rng.choice(CARRIERS[task]), rng, thing=thing)
  else:
    clause = _fill('it was a {adj} {day}', rng)
  if 'hedge' in said:
    clause += f', {said["hedge"]}'
  if 'stress' in said:
    clause += _fill(', {stress} {adj}', rng, stress=said['stress'])
  start = f'{said["opener"]}, {clause}' if 'opener' in said else _cap(clause)
  end = f' {said["closer"]}.' if 'closer' in said else ''
  return f'{start}.{end}'


def _fill(template: str, rng, **words: str) -> str:
  """Slots by name; adjectives, days and months at random, Zipf-distributed."""
  pools = {'{adj}': ADJECTIVES, '{day}': DAYS, '{month}': MONTHS}

  def one(match: re.Match) -> str:
    pool = pools[match[0]]
    return rng.choices(pool, [1 / (n + 1) for n in range(len(pool))])[0]

  text = re.sub(r'\{(adj|day|month)\}', one, template).format(**words)
  return re.sub(r'\b([Aa]) (?=[aeiou])', r'\1n ', text)


def _other(words: Sequence[str], word: str, rng) -> str:
  return rng.choice([w for w in words if w != word])


def _cap(text: str) -> str:
  return text[0].upper() + text[1:]


def _every(iterator, step: int, offset: int):
  for n, item in enumerate(iterator):
    if n % step == offset:
      yield item
