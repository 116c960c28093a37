"""Ids, special tokens and texts are those of transformers' AutoTokenizer."""

import functools
import json
import pathlib
import random

import pyarrow.parquet as pq
import pytest
import transformers

from restpg_jax.engines import tokenizer_files
from tests.text import tokenizer_families

pytestmark = pytest.mark.slow

SHARED = pathlib.Path(__file__).parents[3] / 'shared'
REAL = sorted((SHARED / 'tokenizers').glob('*/tokenizer.json'))
SAMPLE = SHARED / 'data' / 'longlamp_sample'
# transformers rebuilds some by classes of its own.
CLASSES = {'gemma_bpe': 'GemmaTokenizer', 'qwen': 'Qwen2Tokenizer'}
FAST = 'PreTrainedTokenizerFast'
FAMILIES = [name for name in tokenizer_families.FAMILIES if name != 'bert']


@functools.cache
def texts() -> list[str]:
  """2,000 real texts of all tasks; where there are none, the families'."""
  found = dict.fromkeys(tokenizer_families.TEXTS)
  for path in sorted(SAMPLE.rglob('*.parquet')):
    few = next(pq.ParquetFile(path).iter_batches(8)).to_pylist()
    found |= dict.fromkeys(strings(few))
  rng = random.Random(0)
  return rng.sample([*found], min(2000, len(found)))


def strings(value):
  if isinstance(value, str):
    yield value
  elif isinstance(value, dict | list):
    inner = value.values() if isinstance(value, dict) else value
    for item in inner:
      yield from strings(item)


def check(folder):
  """Compares the tokenizer of a folder on all texts."""
  ours = tokenizer_files.read_tokenizer(folder)
  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  special = ours.bos, ours.eos, ours.pad
  assert special == (
    *(theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id),
  )
  for text in texts():
    ids = ours.encode(text)
    assert theirs(text)['input_ids'] == [*ours.begin, *ids], text
    assert theirs.decode(ids) == ours.decode(ids)
    cut = ids[: len(ids) // 2]  # maybe within a character
    assert theirs.decode(cut) == ours.decode(cut)
  noisy = [*ours.begin, *ours.encode('a b'), ours.eos]
  assert ours.decode(noisy) == theirs.decode(noisy, skip_special_tokens=True)


@pytest.mark.parametrize('name', FAMILIES)
def test_a_tokenizer_of_each_family_is_that_of_transformers(name, tmp_path):
  content, notes = tokenizer_families.made(name)
  (tmp_path / 'tokenizer.json').write_bytes(content)
  notes.setdefault('tokenizer_config.json', {})
  for note, value in notes.items():
    if note == 'tokenizer_config.json':
      value = value | {'tokenizer_class': CLASSES.get(name, FAST)}
    (tmp_path / note).write_text(json.dumps(value))
  check(tmp_path)


@pytest.mark.skipif(not REAL, reason='no real tokenizer.json is here')
@pytest.mark.parametrize('path', REAL, ids=lambda path: path.parent.name)
def test_a_real_tokenizer_is_that_of_transformers(path):
  check(path.parent)
