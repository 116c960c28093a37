"""NLTK's data in miniature: a WordNet of one synset, a model without rules."""

import contextlib

import nltk
from nltk.corpus.reader import wordnet as readers
from nltk.corpus.util import LazyCorpusLoader

# NLTK looks for synonyms of stems: these two are their own.
HEAD = '  1 WordNet 3.0 Copyright 2006 in miniature\n'
BIG = f'{len(HEAD):08d}'  # where the synset stands
FILES = {
  'lexnames': '00\tadj.all\t3\n',
  'data.adj': f'{HEAD}{BIG} 00 a 02 big 0 grand 0 000 | of size\n',
  'index.adj': f'big a 1 0 1 1 {BIG}\ngrand a 1 0 1 1 {BIG}\n',
}


def wordnet(root) -> None:
  folder = root / 'corpora' / 'wordnet'
  folder.mkdir(parents=True)
  for name in readers.WordNetCorpusReader._FILES:
    (folder / name).write_text(FILES.get(name, ''))


def punkt(root) -> None:
  folder = root / 'tokenizers' / 'punkt_tab' / 'english'
  folder.mkdir(parents=True)
  for name in (
    *('collocations.tab', 'sent_starters.txt'),
    *('abbrev_types.txt', 'ortho_context.tab'),
  ):
    (folder / name).write_text('')


@contextlib.contextmanager
def only(root, monkeypatch):
  """NLTK finds what is below `root` and nothing else."""
  monkeypatch.setattr(nltk.data, 'path', [str(root)])
  omw = LazyCorpusLoader('omw-2.0', nltk.corpus.reader.CorpusReader, 'none')
  fresh = LazyCorpusLoader('wordnet', readers.WordNetCorpusReader, omw)
  monkeypatch.setattr(nltk.corpus, 'wordnet', fresh)
  nltk.tokenize._get_punkt_tokenizer.cache_clear()
  yield fresh
  nltk.tokenize._get_punkt_tokenizer.cache_clear()
