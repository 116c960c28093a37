"""Facts about benchmarks, which no other test runs: do they still fit?"""

import ast
import importlib
import pathlib
import re

import pytest
from common import timing

FOLDER = pathlib.Path(__file__).parents[1] / 'benchmarks'
SOURCES = sorted(FOLDER.rglob('*.py'))


def taken(tree):
  """('restpg_jax.io.records', 'write'): what a script uses of a module."""
  modules = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and node.module.startswith(
      'restpg_jax'
    ):
      for alias in node.names:
        modules[alias.asname or alias.name] = f'{node.module}.{alias.name}'
  # A name that is also a local variable says nothing of the module.
  bound = {n.id for n in ast.walk(tree) if is_name(n, ast.Store)}
  bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
  for name, module in modules.items():
    yield module, None
    for node in ast.walk(tree):
      if (
        isinstance(node, ast.Attribute)
        and is_name(node.value, ast.Load)
        and node.value.id == name
        and name not in bound
      ):
        yield module, node.attr


def is_name(node, context):
  return isinstance(node, ast.Name) and isinstance(node.ctx, context)


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: path.stem)
def test_what_a_benchmark_uses_of_the_package_exists(path):
  for module, attribute in sorted(
    set(taken(ast.parse(path.read_text()))), key=str
  ):
    there = importlib.import_module(module)
    assert attribute is None or hasattr(there, attribute), (module, attribute)


def test_a_name_that_is_gone_is_seen():
  tree = ast.parse('from restpg_jax.io import records\nrecords.gone()')
  assert set(taken(tree)) == {
    ('restpg_jax.io.records', None),
    ('restpg_jax.io.records', 'gone'),
  }


def test_the_index_names_every_script_once():
  rows = re.findall(
    r'^\|[^|]*\| `(\w+\.py)', (FOLDER / 'README.md').read_text(), re.MULTILINE
  )
  assert sorted(rows) == [path.name for path in sorted(FOLDER.glob('*.py'))]


def test_the_index_names_headings_that_are_there():
  headings = re.findall(
    r'^## (.*)$',
    (FOLDER.parent / 'docs' / 'performance.md').read_text(),
    re.MULTILINE,
  )
  rows = re.findall(
    r'^\|[^|]*\|[^|]*\| ([^|`]*) \|$',
    (FOLDER / 'README.md').read_text(),
    re.MULTILINE,
  )
  for row in rows[1:]:
    known = any(heading.startswith(row) for heading in headings)
    assert known or 'docs' in row, row


def test_commands_in_the_docs_are_scripts():
  docs = FOLDER.parent / 'docs'
  text = '\n'.join(path.read_text() for path in docs.rglob('*.md'))
  named = set(re.findall(r'benchmarks/(\w+\.py)', text))
  assert named <= {path.name for path in FOLDER.glob('*.py')}
  assert len(named) > 5


def test_a_ratio_is_of_the_same_round():
  # The machine is ten times slower in the second round; both are.
  theirs = [timing.Seconds(2, 3), timing.Seconds(20, 30), timing.Seconds(4, 3)]
  ours = [timing.Seconds(1, 1), timing.Seconds(10, 10), timing.Seconds(1, 1)]
  assert timing.medians(theirs) == (4, 3)
  assert timing.ratios(theirs, ours) == (2, 3)


def test_ways_take_turns():
  calls, rounds = [], []
  ways = {'a': lambda n: calls.append(('a', n)), 'b': lambda n: calls.append(n)}
  seconds = timing.alternate(ways, 2, 7, after=rounds.append)
  assert calls == [('a', 7), 7, ('a', 7), 7]
  assert {way: len(each) for way, each in seconds.items()} == {'a': 2, 'b': 2}
  assert [list(each) for each in rounds] == [['a', 'b'], ['a', 'b']]
