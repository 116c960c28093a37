"""Holds the words and sentences of the synthetic world (data/world.py).

A text shows its writer in the slots of its task; its adjectives, days and
months are chance.
"""

import random
import re

_STYLE_WORDS = {
  'opener': 'Hello Howdy Greetings Ahoy Hey Welcome Salutations Evening',
  'closer': 'Cheers Regards Thanks Farewell Warmly Peace Blessings Goodbye',
  'stress': 'truly really utterly quite deeply super awfully hugely',
  'hedge': (
    'frankly honestly luckily basically obviously apparently anyway naturally'
  ),
}
STYLES = {trait: tuple(words.split()) for trait, words in _STYLE_WORDS.items()}
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
_ITEM_WORDS = {
  'email_generation': 'budget meeting invoice trip schedule party',
  'abstract_generation': 'sensor battery robot vaccine bridge crop',
  'product_review': 'heater blender lamp sofa vacuum kettle',
  'topic_writing': 'garden vacation diet apartment exam podcast',
}
ITEMS = {task: tuple(words.split()) for task, words in _ITEM_WORDS.items()}
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


def choices(trait: str) -> tuple[str, ...]:
  """Returns the words that can fill a slot of this trait."""
  return STYLES.get(trait) or ASPECTS[trait]


def answer(
  task: str, item: str, words: dict[str, str], rng: random.Random
) -> str:
  """Returns a text of this task with `words` (slot -> word) in its slots."""
  return _fill(rng.choice(ANSWERS[task]), rng, item=item, **words)


def user_document(
  task: str, thing: str | None, style_words: dict[str, str], rng: random.Random
) -> str:
  """Returns a text of a profile.

  It shows a thing of its writer's life, if any, and her style words by trait.
  """
  if thing:
    clause = _fill(rng.choice(CARRIERS[task]), rng, thing=thing)
  else:
    clause = _fill('it was a {adj} {day}', rng)
  if 'hedge' in style_words:
    clause += f', {style_words["hedge"]}'
  if 'stress' in style_words:
    clause += _fill(', {stress} {adj}', rng, stress=style_words['stress'])
  start = (
    f'{style_words["opener"]}, {clause}'
    if 'opener' in style_words
    else _cap(clause)
  )
  end = f' {style_words["closer"]}.' if 'closer' in style_words else ''
  return f'{start}.{end}'


def gossip(thing: str, rng: random.Random) -> str:
  """Returns a sentence about a neighbour's thing."""
  return f'{_cap(_fill(rng.choice(NEIGHBOURS), rng, thing=thing))}.'


def user_request(task: str, item: str, rng: random.Random) -> str:
  """Returns the input x, worded as LongLaMP words it."""
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


def _fill(template: str, rng: random.Random, **words: str) -> str:
  """Fills slots by name, and adjectives, days and months by Zipf's law."""
  pools = {'{adj}': ADJECTIVES, '{day}': DAYS, '{month}': MONTHS}

  def draw(match: re.Match[str]) -> str:
    pool = pools[match[0]]
    return rng.choices(pool, [1 / (n + 1) for n in range(len(pool))])[0]

  text = re.sub(r'\{(adj|day|month)\}', draw, template).format(**words)
  return re.sub(r'\b([Aa]) (?=[aeiou])', r'\1n ', text)


def _cap(text: str) -> str:
  return text[0].upper() + text[1:]
