"""Facts about restpg_jax/data/census.py: counts of one pass."""

import collections

import pytest

from restpg_jax import types
from restpg_jax.data import census

GOLD = 'I would buy this little red lamp again for my desk'


def example(n, input, output, *texts):
  profile = tuple(types.Document(text, f'title, {text}') for text in texts)
  return types.Example(f'a/train/{n}', 'a', input, output, profile)


def taken(*examples, count_tokens=None):
  of = census.Census(count_tokens)
  assert list(of.through(examples)) == list(range(1, len(examples) + 1))
  return of.summary()


def test_lengths_are_summed_up_exactly():
  # 90 % of ten are at most 9; squares of deviations from 5.5 add up to 82.5.
  found = census.Lengths([3, 1, 2, 4, 10, 9, 8, 7, 6, 5]).summary()
  assert found == {
    'mean': 5.5,
    'std': pytest.approx((82.5 / 10) ** 0.5),
    'p90': 9,
    'largest': 10,
  }
  assert census.Lengths([7]).summary() == {
    'mean': 7, 'std': 0, 'p90': 7, 'largest': 7
  }  # fmt: skip
  assert census.Lengths().summary() is None
  assert census.Lengths([3, 4, 4, 5]).above(3) == 3


def test_a_sample_holds_so_many_and_each_as_likely():
  small = census.Reservoir(5)
  for item in 'abc':
    small.offer(item)
  assert small.items == ['a', 'b', 'c']
  seen = collections.Counter()
  for seed in range(2000):
    sample = census.Reservoir(2)
    sample._rng.seed(seed)
    for item in range(8):
      sample.offer(item)
    assert len(set(sample.items)) == 2
    seen.update(sample.items)
  # 500 times each, standard deviation 19.4.
  assert all(400 < seen[item] < 600 for item in range(8))


def test_words_documents_and_tokens_of_each_example():
  found = taken(
    example(0, 'one two', 'a b c', 'x', 'y y'),
    example(1, 'one  two\nthree four', 'a', 'zzz z'),
    count_tokens=len,
  )
  assert (found['examples'], found['documents']) == (2, 3)
  means = [found[n]['mean'] for n in ('input_words', 'output_words')]
  assert means == [3, 2]
  assert found['profiles'] == {'mean': 1.5, 'std': 0.5, 'p90': 2, 'largest': 2}
  largest = {name: x['largest'] for name, x in found['tokens'].items()}
  assert largest == {'inputs': 19, 'outputs': 5, 'documents': 5}
  assert found['tokens']['documents']['mean'] == pytest.approx((1 + 3 + 5) / 3)


def test_without_a_tokenizer_there_are_no_tokens():
  assert taken(example(0, 'a', 'b'))['tokens'] is None


def test_copies_are_counted_and_the_first_are_shown():
  found = taken(
    example(0, 'a', GOLD, 'x', 'X!', f'{GOLD}. {"It is bright. " * 30}'),
    example(1, 'a', GOLD, 'x', 'y'),
    *(example(n, 'a', GOLD, GOLD.upper()) for n in range(2, 9)),
  )
  names = 'repeated', 'with_repeated', 'leaked', 'with_leaked'
  assert [found[name] for name in names] == [1, 1, 8, 8]
  assert len(found['leaks']) == census.SHOWN
  first = found['leaks'][0]
  assert (first['place'], first['share']) == ('a/train/0, document 3', 1.0)
  assert first['output'] == GOLD
  assert first['document'].startswith(f'{GOLD}. It is bright.')
  assert first['document'].endswith(' ...')
  assert len(first['document']) == census.EXCERPT + len(' ...')


def test_the_longest_of_each_field_is_named():
  found = taken(
    example(0, 'aa', 'bbbb', 'c'),
    example(1, 'aaa', 'bbb', 'cc', 'ccc'),
    example(2, 'aaa', 'b', 'cc'),
  )
  assert found['longest'] == [
    {'field': 'input', 'characters': 3, 'place': 'a/train/1'},
    {'field': 'output', 'characters': 4, 'place': 'a/train/0'},
    {'field': 'document', 'characters': 3, 'place': 'a/train/1, document 2'},
  ]


def test_texts_are_held_in_samples_only(monkeypatch):
  monkeypatch.setattr(census, 'DOCUMENTS', 7)
  monkeypatch.setattr(census, 'EXAMPLES', 3)
  of = census.Census()
  for n in range(50):
    of.add(example(n, f'in {n}', f'out {n}', f'x {n}', f'y {n}'))
  assert (len(of.texts.items), len(of.examples.items)) == (7, 3)
  assert of.summary()['documents'] == 100


def test_where_no_blanks_part_words_characters_are_counted():
  of = census.Census()
  of.add(types.Example('1', 'custom', '写一篇 review', '很好。', ()))
  found = of.summary()
  assert found['input_words']['mean'] == 4
  assert found['output_words']['mean'] == 3  # the full stop is one by itself
