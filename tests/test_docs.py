"""README and docs: short, linked, and true about files."""

import pathlib
import re

import pytest

from tests import test_structure

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / 'restpg_jax'
README = ROOT / 'README.md'
PAGES = sorted((ROOT / 'docs').glob('*.md'))
LINK = re.compile(r'\]\((?!https?:)([^)#]+)[^)]*\)')
# Paths as text has them: `data/world.py`, `retrieval/`, configs/paper.py.
FILE = re.compile(r'(?<![\w/.:-])((?:[\w-]+/)*[\w-]+\.(?:py|md|cff|sh))\b')
FOLDER = re.compile(r'`((?:[\w-]+/)+)`')
# Files of a run or of an export, not of the repository.
WRITTEN = 'report.md', 'model_index.md'


def paths(text):
  """What a text calls a file or folder of the repository."""
  return [p for p in FILE.findall(text) if p not in WRITTEN]


def in_repository(path, page):
  around = ROOT, PACKAGE, page.parent, ROOT / 'benchmarks'
  return any((folder / path).exists() for folder in around)


@pytest.mark.parametrize(
  'page',
  [README, ROOT / 'launch' / 'README.md', *PAGES],
  ids=lambda p: str(p.relative_to(ROOT)),
)
def test_every_path_exists(page):
  text = page.read_text()
  assert [p for p in LINK.findall(text) if not (page.parent / p).exists()] == []
  assert [p for p in paths(text) if not in_repository(p, page)] == []


def test_the_map_of_algorithm_1_names_files_and_folders_that_exist():
  text = README.read_text()
  section = text.split('## Where Algorithm 1 is')[1].split('\n## ')[0]
  named = [*FILE.findall(section), *FOLDER.findall(section)]
  assert len(named) > 40
  gone = [p for p in named if not in_repository(p, README)]
  assert gone == []
  stages = {p.name for p in (PACKAGE / 'stages').glob('[a-z]*.py')}
  assert stages == {p.split('/')[1] for p in named if p.startswith('stages/')}


def test_the_readme_is_short_and_links_every_page():
  text = README.read_text()
  assert len(text.splitlines()) <= 150
  linked = {p for p in LINK.findall(text) if p.startswith('docs/')}
  assert linked == {
    'docs/report.png',
    *(f'docs/{page.name}' for page in PAGES),
  }
  assert (ROOT / 'docs' / 'report.png').stat().st_size < 200_000


def test_the_design_has_the_layers_that_are_tested():
  text = (ROOT / 'docs' / 'design.md').read_text()
  (block,) = re.findall(r'```\n(main, .*?)```', text, re.DOTALL)
  layers = [tuple(line.split(', ')) for line in block.splitlines()]
  assert layers == list(test_structure.LAYERS)
