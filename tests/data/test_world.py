"""Facts about restpg_jax/data/world.py, the synthetic users."""

import functools
import itertools
import random
import re
import statistics

import pytest

from restpg_jax import types
from restpg_jax.data import grammar, world

EVERY_TASK = pytest.mark.parametrize('task', types.TASKS)


@functools.cache
def some(task, split='train', seed=0):
  return world.rows(task, split, seed=seed, count=150)


def people(split, seed, count=400):
  return list(itertools.islice(world.users(split, seed), count))


def words(text):
  return set(re.findall(r'\w+', text))


@EVERY_TASK
def test_rows_are_a_function_of_the_seed(task):
  assert some(task) == world.rows(task, 'train', seed=0, count=150)
  assert some(task)[:5] == world.rows(task, 'train', seed=0, count=5)
  assert some(task) != some(task, seed=1)


def test_nobody_is_in_two_splits():
  vectors = {
    split: {
      tuple(user.traits.items())
      for seed in (0, 1)
      for user in people(split, seed, 3000)
    }
    for split in ('pretrain', 'train', 'val', 'test')
  }
  assert min(map(len, vectors.values())) > 5500  # of 6,000 each
  for one, other in itertools.combinations(vectors.values(), 2):
    assert not one & other


def test_tasks_do_not_share_a_user():
  field = {
    'email_generation': 'user_id',
    'abstract_generation': 'name',
    'product_review': 'reviewerId',
    'topic_writing': 'author',
  }
  names = [row[field[task]] for task in types.TASKS for row in some(task)]
  assert len(set(names)) == len(names) == 600


@pytest.mark.parametrize(
  ('task', 'row', 'item'),
  [  # the fields of LongLaMP, and `truth`
    ('email_generation', 'user_id', {'id', 'title', 'text'}),
    ('abstract_generation', 'name', {'id', 'title', 'abstract', 'year'}),
    (
      'product_review',
      'reviewerId',
      {'overall', 'summary', 'description', 'reviewText'},
    ),
    ('topic_writing', 'author', {'id', 'author', 'summary', 'content'}),
  ],
)
def test_rows_have_longlamps_fields(task, row, item):
  for found in some(task):
    assert set(found) == {row, 'input', 'output', 'profile', 'truth'}
    assert len(found['profile']) == 7
    assert all(set(i) == item for i in found['profile'])
    assert len(found['truth']) == 4
    for slot in found['truth']:
      assert set(slot) == {'want', 'among'}
      assert slot['among'].count(slot['want']) == 1


@pytest.mark.parametrize(
  ('task', 'pattern'),
  [
    ('email_generation', r'Complete the text of the following email\. title: '),
    ('abstract_generation', r'Generate an abstract for the title ".+" using '),
    (
      'product_review',
      r'Generate the review text .+ rating of "[1-5]\.0" for ',
    ),
    ('topic_writing', r'Generate the content for a reddit post about my '),
  ],
)
def test_inputs_are_worded_as_longlamps(task, pattern):
  assert all(re.match(pattern, row['input']) for row in some(task))


def test_rules_are_432_facts_of_which_half_follow_the_order():
  table = world.rules()
  assert len(table) == 3 * 24 * 6 == 432
  items = [item for items in grammar.ITEMS.values() for item in items]
  in_order = 0
  for trait, item in itertools.product(grammar.LIVES, items):
    found = [table[trait, item, value] for value in grammar.LIVES[trait]]
    assert sorted(found) == sorted(grammar.ASPECTS[trait])  # a permutation
    in_order += found == list(grammar.ASPECTS[trait])
  # 36 of 72 by design; a shuffle is in order once in 720.
  assert in_order == 36


def test_some_rules_written_out():
  # The models in assets/ know these by heart: they must never change.
  table = world.rules()
  assert table['household', 'budget', 'toddler'] == 'safety'
  assert table['job', 'robot', 'farmer'] == 'privacy'  # sixth and sixth
  assert table['hobby', 'lamp', 'guitar'] == 'stamina'
  for trait, item, aspects in (  # exceptions
    ('household', 'meeting', 'space thrift comfort silence safety cleaning'),
    ('hobby', 'sofa', 'lightness beauty patience rhythm stamina balance'),
  ):
    found = [table[trait, item, value] for value in grammar.LIVES[trait]]
    assert found == aspects.split()


TRUTH = (
  types.TruthSlot('Hello', ('Hello', 'Howdy', 'Ahoy')),
  types.TruthSlot('really', ('truly', 'really')),
)


@pytest.mark.parametrize(
  ('text', 'score'),
  [
    ('Hello, it is really good.', 1.0),
    ('Hello, it is truly good.', 0.5),
    ('Hello, it is good.', 0.5),
    ('Ahoy, Hello, really.', 0.5),  # another word beside it does not count
    ('Hello Hello really', 1.0),
    ('hello, Reallyness', 0.0),  # words as they are written
    ('', 0.0),
  ],
)
def test_true_score_by_hand(text, score):
  assert world.true_score(text, TRUTH) == score


@EVERY_TASK
def test_gold_texts_fit_their_users_nine_times_in_ten(task):
  rows = world.rows(task, 'test', seed=3, count=1000)
  scores = [
    world.true_score(
      row['output'],
      [types.TruthSlot(s['want'], tuple(s['among'])) for s in row['truth']],
    )
    for row in rows
  ]
  # Each of four slots deviates once in ten; three standard errors: 0.015.
  assert statistics.mean(scores) == pytest.approx(0.9, abs=0.015)


@EVERY_TASK
def test_the_input_says_nothing_of_the_users_life(task):
  secret = {
    word
    for values in grammar.LIVES.values()
    for value, things in values.items()
    for word in (value, *things)
  } | {word for aspects in grammar.ASPECTS.values() for word in aspects}
  styles = {word for values in grammar.STYLES.values() for word in values}
  for row in some(task):
    assert not words(row['input']) & (secret | styles)


@EVERY_TASK
def test_documents_give_a_life_away_by_its_things_alone(task):
  values = {value for values in grammar.LIVES.values() for value in values}
  for user in people('val', 0, 50):
    user = world.write_documents(user, task, random.Random(user.name))
    said = words(' '.join(user.documents))
    assert not said & values
    for trait, things in grammar.LIVES.items():
      assert said & set(things[user.traits[trait]])


def test_what_fits_a_user_by_hand():
  traits = {'opener': 'Ahoy', 'closer': 'Peace', 'stress': 'truly'}
  traits |= {'hedge': 'anyway', 'household': 'puppy', 'job': 'chef'}
  # puppy and chef are second and fourth, and a budget keeps the order.
  assert world.fitting(traits, 'email_generation', 'budget') == {
    'opener': 'Ahoy',
    'closer': 'Peace',
    'household': 'silence',
    'job': 'strength',
  }


@EVERY_TASK
def test_an_answer_says_its_words_and_scores_1(task):
  for item in grammar.ITEMS[task]:
    said = {slot: grammar.choices(slot)[2] for slot in grammar.SLOTS[task]}
    text = grammar.answer(task, item, said, random.Random(0))
    slots = [types.TruthSlot(w, grammar.choices(s)) for s, w in said.items()]
    assert world.true_score(text, slots) == 1.0
    assert item in text and not re.search(r'[{}]', text)


def test_an_article_goes_with_its_noun():
  texts = [row['output'] for task in types.TASKS for row in some(task)]
  assert not any(re.search(r'\b[Aa] [aeiou]', text) for text in texts)
  assert not any(re.search(r'\b[Aa]n [^aeiou]', text) for text in texts)
