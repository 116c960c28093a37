"""Facts about restpg_jax/data/corpus.py, what the tiny models learn from."""

import itertools
import random
import re

import pytest

from restpg_jax import types
from restpg_jax.data import corpus, grammar, world

PATTERNS = {  # trait -> its statement
  'opener': r'Opens with (\w+)\.',
  'closer': r'Closes with (\w+)\.',
  'stress': r'Says (\w+)\.',
  'hedge': r'Adds (\w+)\.',
  'household': r'Lives with a (\w+)\.',
  'job': r'Works as a (\w+)\.',
  'hobby': r'Enjoys (\w+)\.',
}
SENTENCE = re.compile(
  r'(Opens with|Closes with|Says|Adds) \w+\.|'
  r'(Lives with a|Works as a|Enjoys) \w+'
  r'(, so the \w+ (needs|demands|rewards) \w+)?\.'
)


def take(iterator, count):
  return list(itertools.islice(iterator, count))


def text_of(segments):
  return ''.join(text for text, _ in segments)


def portraits(rows):
  """The traits that a row tells of a whole user, for the rows that do."""
  for segments in rows:
    found = {t: re.findall(p, text_of(segments)) for t, p in PATTERNS.items()}
    if all(len(values) == 1 for values in found.values()):
      yield tuple(found[trait][0] for trait in grammar.TRAITS)


@pytest.mark.parametrize('diet', [corpus.pretraining, corpus.drills])
def test_nobody_in_it_has_the_traits_of_a_demos_user(diet):
  known = set(portraits(take(diet(0), 8000)))
  assert len(known) > 3000
  # Without the split, some ten of 2,000 x 3,000 pairs would coincide.
  for split, seed in itertools.product(('train', 'val', 'test'), (0, 1)):
    users = take(world.users(split, seed), 2000)
    assert not known & {
      tuple(u.traits[t] for t in grammar.TRAITS) for u in users
    }


@pytest.mark.parametrize(
  'diet',
  [
    corpus.pretraining,
    corpus.drills,
    corpus.judgements,
    corpus.muddles,
    corpus.explained,
  ],
)
def test_it_is_a_function_of_the_seed(diet):
  assert take(diet(0), 20) == take(diet(0), 20)
  assert take(diet(0), 20) != take(diet(1), 20)


@pytest.mark.parametrize('diet', [corpus.pretraining, corpus.drills])
def test_the_base_model_never_sees_a_request_answered(diet):
  for segments in take(diet(0), 500):
    text = text_of(segments)
    assert 'Answer' not in text and 'Summary' not in text
    if ' | ' in text:  # documents are not followed by what they imply
      assert not re.search(r', so the', text)


@pytest.mark.parametrize(
  ('arguments', 'sentence'),
  [
    (('opener', 'Ahoy'), 'Opens with Ahoy.'),
    (('stress', 'truly'), 'Says truly.'),
    (('household', 'puppy'), 'Lives with a puppy.'),
    (
      ('job', 'nurse', 'trip', 'speed'),
      'Works as a nurse, so the trip demands speed.',
    ),
    (
      ('hobby', 'chess', 'lamp', 'beauty'),
      'Enjoys chess, so the lamp rewards beauty.',
    ),
    (('closer', 'Peace', 'lamp', 'beauty'), 'Closes with Peace.'),
  ],
)
def test_statements(arguments, sentence):
  assert corpus.statement(*arguments) == sentence


def test_reasoning_is_four_statements_mostly_of_what_matters():
  rng = random.Random(0)
  user = next(world.users('pretrain', 0))
  user = world.write_documents(user, 'product_review', rng)
  needed = 0
  for _ in range(300):
    text = corpus.reasoning(user, 'product_review', 'lamp', rng)
    sentences = [match[0] for match in SENTENCE.finditer(text)]
    assert ' '.join(sentences) == text and len(sentences) == 4
    starts = ('Says', 'Adds', 'Lives', 'Enjoys')  # this task's four slots
    needed += sum(s.startswith(starts) for s in sentences)
  assert 2.6 < needed / 300 < 3.6  # by chance 4 * 4 / 7 = 2.3


def test_a_label_says_how_many_words_agree():
  among = [set(grammar.choices(trait)) for trait in grammar.TRAITS]
  labels = {0: 1, 1: 3, 2: 5, 3: 7, 4: 10}

  def said(text):
    words = set(re.findall(r'\w+', text))
    return {frozenset(words & choices) for choices in among} - {frozenset()}

  counts = dict.fromkeys(labels.values(), 0)
  for _, reference, answer, label, *_ in take(corpus.judgements(0), 500):
    assert len(said(reference)) == 4
    assert label == labels[len(said(reference) & said(answer))]
    counts[label] += 1
  assert min(counts.values()) > 50


def muddles():
  """(truth, text, label, why) of many; truth as the reference tells it."""
  for request, reference, text, label, why in take(corpus.muddles(0), 2000):
    (task,) = [
      t
      for t, slots in grammar.SLOTS.items()
      if asks(request, t) and all(found(reference, s) for s in slots)
    ]
    truth = {s: found(reference, s)[0] for s in grammar.SLOTS[task]}
    yield task, truth, text, label, why


def asks(request, task):
  return request.startswith(
    {
      'email_generation': 'Complete the text of the following email',
      'abstract_generation': 'Generate an abstract',
      'product_review': 'Generate the review text',
      'topic_writing': 'Generate the content for a reddit post',
    }[task]
  )


def found(text, slot):
  """The slot's words that a text has, each once."""
  words = re.findall(r'\w+', text)
  return [word for word in grammar.choices(slot) if word in words]


def test_a_muddles_label_is_the_true_score_of_the_answer():
  labels = {0.0: 1, 0.25: 3, 0.5: 5, 0.75: 7, 1.0: 10}
  counts = dict.fromkeys(labels.values(), 0)
  for _, truth, text, label, why in muddles():
    slots = [types.TruthSlot(w, grammar.choices(s)) for s, w in truth.items()]
    assert label == labels[world.true_score(text, slots)]
    assert why == ', '.join(
      f'{word} {"yes" if found(text, slot) == [word] else "no"}'
      for slot, word in truth.items()
    )
    counts[label] += 1
  assert min(counts.values()) > 20  # every label, though few are whole


def test_some_muddles_say_several_words_of_one_slot_or_none():
  several = spoilt = none = 0
  for _, truth, text, label, _ in muddles():
    said = {slot: found(text, slot) for slot in truth}
    several += any(len(words) > 1 for words in said.values())
    none += any(not words for words in said.values())
    # The right word with a wrong one beside it does not count.
    spoilt += any(truth[s] in w and len(w) > 1 for s, w in said.items())
    if any(len(words) != 1 for words in said.values()):
      assert label < 10
  assert several > 100 and none > 100 and spoilt > 100


def test_some_muddles_hold_a_piece_of_another_task():
  foreign = 0
  for task, _, text, _, _ in muddles():
    items = {
      i for t, words in grammar.ITEMS.items() if t != task for i in words
    }
    foreign += bool(items & set(re.findall(r'\w+', text)))
  assert 200 < foreign < 1800
