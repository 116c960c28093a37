"""Writes the texts that the bundled tiny models learn from.

The base ("PT") model must bring what any language model brings to REST-PG: it
reads a writer's traits off documents, knows the world's rules by heart, and can
copy what it has just written. It never sees a request together with its output,
nor documents followed by what they imply for an item: those are the policy's
to learn. The instruction-tuned ("IT") model learns two jobs from a chat turn:
to write reasoning as an imperfect annotator would, and to judge answers.

Everybody in here belongs to the world's `pretrain` users.
"""

import random
import re
from collections.abc import Iterable, Iterator

from restpg_jax import types
from restpg_jax.data import grammar, world

Segments = list[tuple[str, float]]  # text, weight of its tokens in the loss
SOFT = 0.05  # weight of what a drill does not train
DOCUMENT_WEIGHT = 0.15  # documents are context; their own words matter little
STATEMENTS = {
  'opener': 'Opens with {}.',
  'closer': 'Closes with {}.',
  'stress': 'Says {}.',
  'hedge': 'Adds {}.',
  'household': 'Lives with a {}',
  'job': 'Works as a {}',
  'hobby': 'Enjoys {}',
}
LABELS = (1, 3, 5, 7, 10)  # by number of slots that agree, 0 to 4


def pretraining(seed: int) -> Iterator[Segments]:
  """Yields rows for the base model's pre-training, endlessly."""
  rng = random.Random(f'pretraining {seed}')
  people = world.users('pretrain', seed)
  while True:
    chance = rng.random()
    if chance < 0.5:
      yield _portrait(next(people), rng)
    else:
      parts = [_rules, _talk, _coherence, _coherence]
      yield [(' '.join(rng.choice(parts)(rng) for _ in range(5)), 1.0)]


def drills(seed: int) -> Iterator[Segments]:
  """Yields rows for the base model's second training, endlessly.

  They are texts as in `pretraining`, but what can be known from the row or from
  the rules outweighs what is chance.
  """
  rng = random.Random(f'drills {seed}')
  people = world.users('pretrain', seed + 2)  # others than pretraining's
  while True:
    chance = rng.random()
    if chance < 0.4:
      yield _drilled_portrait(next(people), rng)
    elif chance < 0.7:
      yield [s for _ in range(8) for s in _drilled_rule(rng)]
    else:
      yield [s for _ in range(4) for s in _drilled_coherence(rng)]


def statement(trait: str, value: str, item: str = '', aspect: str = '') -> str:
  """Returns a sentence about a user's trait.

  For a trait of life it may add what the trait asks of an item:

  ('job', 'nurse', 'trip', 'speed')
      -> 'Works as a nurse, so the trip demands speed.'
  """
  text = STATEMENTS[trait].format(value)
  if trait in grammar.STYLES:
    return text
  if aspect:
    text += f', so the {item} {grammar.VERBS[trait]} {aspect}'
  return text + '.'


def reasoning(
  user: world.User, task: str, item: str, rng: random.Random
) -> str:
  """Returns what an imperfect annotator writes about a user, given the task.

  Four of seven traits, mostly those that matter; now and then the neighbour's
  life is taken for the user's, and a conclusion is missing or wrong.
  """
  needed = grammar.SLOTS[task]
  # Mostly moves the task's own traits to the front.
  traits = sorted(
    grammar.TRAITS, key=lambda t: rng.random() - 0.35 * (t in needed)
  )[:4]
  rng.shuffle(traits)
  return ' '.join(_noted(user, t, item, rng) for t in traits)


def judgements(seed: int) -> Iterator[tuple[str, str, str, int, str]]:
  """Yields (instruction, ground truth, answer, label, why), endlessly.

  `why` goes through what the ground truth says: 'Hello yes, Cheers no, ..'.
  The judge is asked for the label alone; that it learns to say why after it
  is what teaches so small a model to compare.
  """
  rng = random.Random(f'judgements {seed}')
  while True:
    task, item, truth = _question(rng)
    changed = rng.sample(list(truth), rng.randint(0, 4))
    written = {
      slot: rng.choice([w for w in grammar.choices(slot) if w != word])
      if slot in changed
      else word
      for slot, word in truth.items()
    }
    reference = grammar.answer(task, item, truth, rng)
    text = _damaged(grammar.answer(task, item, written, rng), rng)
    request = grammar.user_request(task, item, rng)
    yield request, reference, text, *_marks(text, truth)


def muddles(seed: int) -> Iterator[tuple[str, str, str, int, str]]:
  """Yields the same as `judgements`, of a half-trained policy's answers.

  They are pieces of texts, also of other tasks and items, in which a slot may
  be empty or filled twice.

  A judge that never saw such answers gives them the highest label, and a policy
  finds them.
  """
  rng = random.Random(f'muddles {seed}')
  while True:
    task, item, truth = _question(rng)
    reference = grammar.answer(task, item, truth, rng)
    text = _muddled(task, item, truth, rng)
    request = grammar.user_request(task, item, rng)
    yield request, reference, text, *_marks(text, truth)


def explained(seed: int) -> Iterator[tuple[tuple[str, ...], str, str, str]]:
  """Yields (documents, instruction, expected output, reasoning), endlessly."""
  rng = random.Random(f'explained {seed}')
  people = world.users('pretrain', seed + 1)  # others than pretraining's
  while True:
    task = rng.choice(types.TASKS)
    item = rng.choice(grammar.ITEMS[task])
    user = world.write_documents(next(people), task, rng)
    truth = world.fitting(user.traits, task, item)
    yield (
      tuple(rng.sample(user.documents, 5)),
      grammar.user_request(task, item, rng),
      grammar.answer(task, item, truth, rng),
      reasoning(user, task, item, rng),
    )


def _question(rng: random.Random) -> tuple[str, str, dict[str, str]]:
  """Draws a task, an item and the words (slot -> word) that fit somebody."""
  task = rng.choice(types.TASKS)
  item = rng.choice(grammar.ITEMS[task])
  truth = {s: rng.choice(grammar.choices(s)) for s in grammar.SLOTS[task]}
  return task, item, truth


def _marks(text: str, truth: dict[str, str]) -> tuple[int, str]:
  """Returns the label of an answer, and why: 'Hello yes, Cheers no, ..'."""
  slots = [types.TruthSlot(w, grammar.choices(s)) for s, w in truth.items()]
  right = [world.true_score(text, [slot]) == 1 for slot in slots]
  why = ', '.join(
    f'{slot.want} {"yes" if hit else "no"}'
    for slot, hit in zip(slots, right, strict=True)
  )
  return LABELS[sum(right)], why


def _portrait(user: world.User, rng: random.Random) -> Segments:
  """Returns documents, then what they say about their writer."""
  user = world.write_documents(user, rng.choice(types.TASKS), rng)
  shown = rng.sample(user.documents, rng.randint(5, 6))
  facts = [statement(t, v) for t, v in user.traits.items()]
  rng.shuffle(facts)
  return [(' | '.join(shown) + '\n', DOCUMENT_WEIGHT), (' '.join(facts), 1.0)]


def _drilled_portrait(user: world.User, rng: random.Random) -> Segments:
  (documents, _), (facts, _) = _portrait(user, rng)
  return [(documents, 0.0), *_stressed(facts, user.traits.values())]


def _drilled_rule(rng: random.Random) -> Segments:
  (trait, item, value), aspect = rng.choice(list(world.rules().items()))
  text = statement(trait, value, item, aspect)
  return _stressed(f'{text} ', [aspect])


def _drilled_coherence(rng: random.Random) -> Segments:
  first, _, again = _coherence(rng).partition('. On')
  words = [w for aspects in grammar.ASPECTS.values() for w in aspects]
  return [(first, 0.0), *_stressed(f'. On{again} ', words)]


def _stressed(text: str, words: Iterable[str]) -> Segments:
  """Weights these words of a text fully and the rest by SOFT."""
  parts = re.split(rf'( (?:{"|".join(words)})\b)', text)
  return [(p, (SOFT, 1.0)[n % 2]) for n, p in enumerate(parts) if p]


def _rules(rng: random.Random) -> str:
  (trait, item, value), aspect = rng.choice(list(world.rules().items()))
  return statement(trait, value, item, aspect)


def _talk(rng: random.Random) -> str:
  """Returns a request, and impersonal talk that stays on its item."""
  task = rng.choice(types.TASKS)
  item = rng.choice(grammar.ITEMS[task])
  adjective, other = rng.sample(grammar.ADJECTIVES, 2)
  return (
    f'{grammar.user_request(task, item, rng)}\nThe {item} is {adjective}, the '
    f'{item} looks {other}.'
  )


def _coherence(rng: random.Random) -> str:
  """Says something of an item, then says the same again."""
  item = rng.choice([i for items in grammar.ITEMS.values() for i in items])
  clauses = [
    f'the {item} {grammar.VERBS[t]} {rng.choice(grammar.ASPECTS[t])}'
    for t in rng.sample(list(grammar.VERBS), rng.randint(1, 2))
  ]
  again = rng.sample(clauses, len(clauses))
  one, two = rng.sample(grammar.ADJECTIVES, 2)
  day = rng.choice(grammar.DAYS)
  return (
    f'So {" and ".join(clauses)}. On {day}, {one} and {two}, '
    f'{f", {one}, ".join(again)}.'
  )


def _noted(user: world.User, trait: str, item: str, rng: random.Random) -> str:
  """Returns one of the annotator's sentences, with the annotator's errors."""
  value = user.traits[trait]
  if trait in grammar.STYLES:
    return statement(trait, value)
  seen = {
    v
    for v, things in grammar.LIVES[trait].items()
    for d in user.documents
    if v != value and any(thing in d for thing in things)
  }
  if seen and rng.random() < 0.6:
    value = rng.choice(sorted(seen))
  elif rng.random() < 0.1:
    value = rng.choice(list(grammar.LIVES[trait]))
  if rng.random() < 0.2:
    return statement(trait, value)
  aspect = world.rules()[trait, item, value]
  if rng.random() < 0.15:
    aspect = rng.choice(grammar.ASPECTS[trait])
  return statement(trait, value, item, aspect)


def _damaged(text: str, rng: random.Random) -> str:
  """Now and then loses or doubles a word or cuts the end, as weak models do."""
  words = text.split(' ')
  chance, position = rng.random(), rng.randrange(len(words))
  if chance < 0.10:
    words.pop(position)
  elif chance < 0.15:
    words.insert(position, rng.choice(words))
  elif chance < 0.20:
    words = words[: position + 1]
  return ' '.join(words)


def _muddled(
  task: str, item: str, truth: dict[str, str], rng: random.Random
) -> str:
  """Joins pieces of two texts; most words are right, some are no slot's."""
  other = rng.choice(types.TASKS)
  strangers = [w for values in grammar.LIVES.values() for w in values]
  texts = [
    grammar.answer(task, item, _half_known(truth, strangers, rng), rng),
    grammar.answer(
      other,
      rng.choice((item, rng.choice(grammar.ITEMS[other]))),
      _half_known(truth, strangers, rng),
      rng,
    ),
  ]
  pieces = [p for text in texts for p in re.split(r'(?<=[,.:?]) ', text)]
  keep = sorted(rng.choices(range(len(pieces)), k=rng.randint(2, 5)))
  return ' '.join(pieces[n] for n in keep)


def _half_known(
  truth: dict[str, str], strangers: list[str], rng: random.Random
) -> dict[str, str]:
  """Returns a word for every slot, the right one in three of four cases."""
  return {
    trait: rng.choice(strangers)
    if rng.random() < 0.1
    else truth[trait]
    if trait in truth and rng.random() < 0.8
    else rng.choice(grammar.choices(trait))
    for trait in grammar.TRAITS
  }
