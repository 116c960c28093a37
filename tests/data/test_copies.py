"""Facts about restpg_jax/data/copies.py: what is a copy and what is not."""

import json
import pathlib
import random

import pytest
from etils import epath

from restpg_jax import config, types
from restpg_jax.data import copies, longlamp
from restpg_jax.io import records
from restpg_jax.stages import retrieve
from tests import tiny

SAMPLE = pathlib.Path(__file__).parents[3] / 'shared/data/longlamp_sample'
GOLD = (
  'The heater is small, quiet and warms the room within ten minutes. My '
  'daughter can touch it safely because the grill stays cool. I only wish the '
  'cable were longer: it does not reach the socket behind our sofa.'
)
OTHER = (
  'We took the train to the coast and walked along the cliffs until evening. '
  'The inn had one room left, with a stove, and bread that was still warm.'
)


def profile(*texts):
  return tuple(types.Document(text, f'title {text}') for text in texts)


def leaked(*texts, gold=GOLD):
  return list(copies.find_copies(gold, profile(*texts)).leaked)


def edited(text, *, every):
  """Every n-th word is another one."""
  words = text.split()
  words[::every] = ['zebra'] * len(words[::every])
  return ' '.join(words)


@pytest.mark.parametrize(
  'text',
  [
    GOLD,
    GOLD.upper().replace(' ', '\n\n'),
    GOLD.replace('.', ' ...').replace(':', ' --').replace(',', ''),
    f'{GOLD} I have bought a second one since.',
    f'Five stars. {OTHER} {GOLD}',
    GOLD.removesuffix('it does not reach the socket behind our sofa.'),
    edited(GOLD, every=13),
    ' '.join(reversed(GOLD.partition(' My daughter'))),  # sentences moved
  ],
)
def test_a_near_copy_of_the_output_is_found(text):
  assert leaked(OTHER, text) == [1]


@pytest.mark.parametrize(
  'text',
  [
    OTHER,
    f'{OTHER} "{GOLD[: len(GOLD) // 2]}", as I wrote once. {OTHER}',
    edited(GOLD, every=4),
    ' '.join(sorted(GOLD.split())),  # the same words, another text
    'The heater is small.',
    '',
  ],
)
def test_what_is_no_near_copy(text):
  assert leaked(OTHER, text) == []


def test_its_share_is_that_of_the_runs_of_three_words():
  # gold: abc bcd cde def efg fgh; the text has the first five of six.
  found = copies.find_copies('a b c d e f g h', profile('a b c d e f g x'))
  assert found.leaked == {0: pytest.approx(5 / 6)}
  assert leaked('a b c d e f x y z', gold='a b c d e f g h') == []  # 4 of 6


def test_of_a_short_output_only_the_same_text_is_a_copy():
  assert leaked('Thank you so much!', 'thank you, so much', gold=(
    'Thank you so much.')) == [0, 1]  # fmt: skip
  assert leaked(f'{OTHER} Thank you so much.', gold='Thank you so much.') == []


def test_a_document_repeats_another_one_with_the_same_words():
  found = copies.find_copies(
    GOLD, profile('It works, GREAT!', OTHER, 'it  works\ngreat', 'It works')
  )
  assert found == copies.Copies([2], {})


def test_texts_without_words_or_in_other_forms_of_the_same_letters():
  assert copies.find_copies(GOLD, profile(':-)', '!!!', ' :-) ')).repeated == [
    2
  ]
  composed, apart = 'caf\u00e9 \ufb01n', 'cafe\u0301 fin'
  assert copies.find_copies(GOLD, profile(composed, apart)).repeated == [1]


def removed(*texts, **which):
  counts = {'rows': 1}
  how = dict(dedupe=False, drop_leaks=False) | which
  example = types.Example('a/train/0', 'a', 'asked', GOLD, profile(*texts))
  (found,) = copies.removed([example], counts=counts, **how)
  assert (found.id, found.input, found.output) == (
    'a/train/0', 'asked', GOLD
  )  # fmt: skip
  return [d.text for d in found.profile], counts


def test_removed_is_what_is_asked_for_and_counted():
  texts = OTHER, GOLD, OTHER.upper(), f'{GOLD} It is blue.', 'x', GOLD
  assert removed(*texts, dedupe=True) == (
    [OTHER, GOLD, texts[3], 'x'],
    {'rows': 1, 'repeated_documents': 2, 'leaked_documents': 0},
  )
  assert removed(*texts, drop_leaks=True) == (
    [OTHER, OTHER.upper(), 'x'],
    {'rows': 1, 'repeated_documents': 0, 'leaked_documents': 3},
  )
  assert removed(*texts, dedupe=True, drop_leaks=True) == (
    [OTHER, 'x'],
    {'rows': 1, 'repeated_documents': 2, 'leaked_documents': 2},
  )


def test_counts_add_up_over_the_examples():
  counts = {}
  examples = [types.Example('', 'a', 'x', GOLD, profile(GOLD, GOLD))] * 3
  how = dict(dedupe=True, drop_leaks=True, counts=counts)
  assert all(not e.profile for e in copies.removed(examples, **how))
  assert counts == {'repeated_documents': 3, 'leaked_documents': 3}


def test_copies_planted_among_real_texts_are_found_and_nothing_else():
  if not SAMPLE.is_dir():
    pytest.skip('no sample of real texts')
  examples, _ = longlamp.read_examples(SAMPLE, setting='user', split='test')
  rng = random.Random(0)
  seen, wrong = [], []
  for example in examples:
    seen.append(example.id)
    n = rng.randrange(len(example.profile) + 1)
    copy = types.Document(f'{example.output.upper()} And so on.', '')
    planted = [*example.profile[:n], copy, *example.profile[n:]]
    if len(copies.normalized_words(example.output)) < copies.SHORT:
      planted[n] = types.Document(example.output.upper(), '')
    if list(copies.find_copies(example.output, planted).leaked) != [n]:
      wrong.append(example.id)
  assert len(seen) > 100
  assert wrong == []


CASES = pathlib.Path(__file__).parents[3] / 'shared/cases'


@pytest.mark.skipif(not CASES.is_dir(), reason='without shared/cases')
@pytest.mark.parametrize('name', ['non_latin_en', 'non_latin_zh'])
@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_a_run_on_another_script_is_like_that_on_english(tmp_path, name, split):
  data = config.Data(path=str(CASES / name), drop_leaks=True)
  how = retrieve.RetrieveSettings(
    data, config.Retrieval(name='bm25', k=1), split, 0
  )
  summary = retrieve.retrieve(
    out=epath.Path(tmp_path), cfg=how, layout=tiny.layout()
  )
  [found] = records.read(tmp_path / 'examples.jsonl', types.Example)
  [row] = (CASES / name / 'custom' / f'{split}.jsonl').read_text().splitlines()
  assert list(found.context) == [json.loads(row)['profile'][3]]
  assert summary['leaked_documents'] == 1
