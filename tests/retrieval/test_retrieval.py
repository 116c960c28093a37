"""Facts about restpg_jax/retrieval."""

import numpy as np
import pytest
import rank_bm25

from restpg_jax.retrieval import bm25, chance, dense, question, recency

KEYS = [
  'The garden is green.',
  'A quiet room heater, safe for children.',
  'Heaters and heating.',
  'HEATER! heater, heater?',
  'The weather in April.',
  'My garden has a room.',
]


def test_documents_that_share_words_with_the_query_come_first():
  # 3 says 'heater' three times; 1 has both words, 5 has 'room'.
  assert bm25.rank_by_bm25('room heater', KEYS) == [3, 1, 5, 0, 2, 4]


def test_scores_are_the_librarys():
  words = [
    'the garden is green'.split(),
    'a quiet room heater safe for children'.split(),
    'heaters and heating'.split(),
    'heater heater heater'.split(),
    'the weather in april'.split(),
    'my garden has a room'.split(),
  ]
  for query in ('heater', 'Heater, the garden!', 'my children'):
    scores = rank_bm25.BM25Plus(words).get_scores(
      query.lower().replace(',', '').replace('!', '').split()
    )
    ranked = [scores[n] for n in bm25.rank_by_bm25(query, KEYS)]
    assert ranked == sorted(scores, reverse=True)


def test_a_word_of_one_in_two_documents_decides():
  # Okapi's idf of it is log(1.5 / 1.5) = 0, and the order the profile's.
  assert bm25.rank_by_bm25('heater', ['The old sofa.', 'The heater.']) == [1, 0]


def test_a_word_of_all_documents_still_counts_for_them():
  # Okapi's idf of it is below 0 here: the fewer, the better.
  assert bm25.rank_by_bm25('sofa', ['An old red sofa.', 'Sofa, sofa!']) == [
    1,
    0,
  ]


def test_case_and_punctuation_do_not_matter():
  assert bm25.rank_by_bm25('heater', KEYS)[0] == 3
  assert bm25.rank_by_bm25('HEATER?!', KEYS) == bm25.rank_by_bm25(
    'heater', KEYS
  )


def test_words_in_other_scripts_are_words():
  keys = ['привет мир', 'hello world', 'добрый день', 'good day']
  assert bm25.rank_by_bm25('ДОБРЫЙ вечер', keys)[0] == 2


@pytest.mark.parametrize('query', ['', 'unseen', '...'])
def test_ties_keep_the_profiles_order(query):
  assert bm25.rank_by_bm25(query, KEYS) == [0, 1, 2, 3, 4, 5]


def test_equal_documents_keep_their_order():
  keys = ['dog', 'cat', 'dog', 'cat', 'bird', 'fish', 'cow']
  assert bm25.rank_by_bm25('cat', keys)[:2] == [1, 3]
  assert bm25.rank_by_bm25('cat', keys)[2:] == [0, 2, 4, 5, 6]


def test_a_sum_in_another_order_is_a_tie():
  # The library's scores are 3.465735902799726, the same and ..7265.
  keys = ['new red', 'new old', 'old red']
  assert bm25.rank_by_bm25('old red new', keys) == [0, 1, 2]


@pytest.mark.parametrize('rank', [bm25.rank_by_bm25, recency.rank_by_recency])
def test_an_empty_profile_has_no_documents(rank):
  assert rank('heater', []) == []


def test_documents_without_words_are_no_trouble():
  assert bm25.rank_by_bm25('heater', ['', '...', '']) == [0, 1, 2]
  assert bm25.rank_by_bm25('heater', ['', 'dog', 'heater', ''])[0] == 2


def test_recency_takes_the_last_first():
  assert recency.rank_by_recency('heater', KEYS) == [5, 4, 3, 2, 1, 0]


def test_chance_depends_on_seed_and_example_alone():
  one, other = (question.RetrievalQuery(n, 'heater', KEYS) for n in 'ab')
  again = question.RetrievalQuery('a', 'garden', KEYS[::-1])
  assert chance.rank_at_random(one, seed=0) == chance.rank_at_random(
    again, seed=0
  )
  orders = {
    tuple(chance.rank_at_random(query, seed=seed))
    for query in (one, other)
    for seed in range(3)
  }
  assert len(orders) == 6
  assert all(sorted(order) == list(range(6)) for order in orders)
  first = [
    chance.rank_at_random(question.RetrievalQuery(str(n), '', 'abc'), seed=0)[0]
    for n in range(300)
  ]
  assert all(60 < first.count(n) < 140 for n in range(3))


VECTORS = {
  'query': [1.0, 0.0],
  'other': [0.0, 1.0],
  'a': [0.5, 9.0],
  'b': [2.0, -1.0],
  'c': [0.5, -9.0],
}


def test_vectors_rank_by_their_product_and_ties_by_their_place():
  calls = []

  def embed(texts):
    calls.append(texts)
    return np.array([VECTORS[text] for text in texts])

  queries = [
    question.RetrievalQuery('1', 'query', ['a', 'b', 'c', 'b']),
    question.RetrievalQuery('2', 'other', ['c', 'a']),
    question.RetrievalQuery('3', 'query', []),
  ]
  assert dense.rank_by_vectors(queries, embed) == [[1, 3, 0, 2], [1, 0], []]
  assert calls == [['query', 'a', 'b', 'c', 'other']]  # each text once


def test_equal_documents_of_any_number_are_ties():
  rng = np.random.default_rng(0)
  for _ in range(50):
    vector = rng.standard_normal((2, 384), np.float32)
    keys = ['same'] * int(rng.integers(2, 40))
    queries = [question.RetrievalQuery('1', 'query', keys)]
    orders = dense.rank_by_vectors(queries, lambda texts, vector=vector: vector)
    assert orders == [list(range(len(keys)))]
