"""A survey as tables, for a terminal of 100 columns and for the page."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from restpg_jax import paper
from restpg_jax.data import copies

DASH = '-'
SPLIT = 'task', 'split'
COUNTED = {  # what is odd about rows, data/longlamp.py
  'duplicate_rows': 'rows that repeat another row',
  'duplicate_users': 'rows of a user who had one before',
  'empty_profiles': 'rows without any document',
  'skipped_items': 'items of profiles without text',
  'cut_texts': 'texts cut for their length',
  'mended_texts': 'texts with half a character',
  'unused_outputs': 'outputs whose id no question has',
}


@dataclasses.dataclass(frozen=True)
class SurveyTable:
  """Columns of names, then of numbers."""

  title: str
  names: tuple[str, ...]
  numbers: tuple[str, ...]
  rows: list[tuple[str, ...]]
  said: str = ''  # below it


def build_tables(
  splits: Sequence[dict[str, Any]], *, synthetic: bool
) -> list[SurveyTable]:
  """Those that have something to say."""
  found = [
    _table_2(splits, synthetic),
    _tokens(splits),
    _limits(splits),
    _copies(splits),
    _odd(splits),
    _longest(splits),
  ]
  return [table for table in found if table.rows]


def table_text(table: SurveyTable) -> str:
  """Columns as wide as they need."""
  grid = [table.names + table.numbers, *table.rows]
  widths = [max(map(len, column)) for column in zip(*grid, strict=True)]

  def line(row):
    cells = (
      cell.ljust(width) if n < len(table.names) else cell.rjust(width)
      for n, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return '  '.join(cells).rstrip()

  return '\n'.join([table.title, *map(line, grid)])


def _table_2(splits, synthetic) -> SurveyTable:
  def row(of):
    lengths = (of[n] for n in ('input_words', 'output_words', 'profiles'))
    published = paper.LONGLAMP.get(_title(of))
    there = published and published.examples[paper.SPLITS.index(of['split'])]
    return (
      f'{of["examples"]:,}',
      f'{there:,}' if there else '',
      *(_spread(x['mean'], x['std']) for x in lengths),
    )

  rows = []
  for of_task in _by_task(splits):
    rows += _named(of_task, row)
    if published := paper.LONGLAMP.get(_title(of_task[0])):
      spreads = (published.input, published.output, published.profile)
      rows.append(('', 'paper', '', '', *(_spread(*x) for x in spreads)))
  said = (
    'Mean ± standard deviation over examples; words are parted by blanks, and '
    'in scripts without them a character is a word.'
  )
  if synthetic:
    said += ' These are synthetic users: the paper has others.'
  return SurveyTable(
    'Table 2 of the paper, and of this data',
    SPLIT,
    (
      *('examples', 'paper', 'words of inputs', 'words of outputs'),
      'documents a user',
    ),
    rows,
    said,
  )


def _tokens(splits) -> SurveyTable:
  splits = [of for of in splits if of['tokens']]
  names = 'inputs', 'outputs', 'documents'
  return SurveyTable(
    "Tokens, by the policy's tokenizer",
    SPLIT,
    names,
    _each(splits, lambda of: [_lengths(of['tokens'][n]) for n in names]),
    'Mean / 90 % have at most / largest. Of documents: a sample of each task '
    'and split.',
  )


def _limits(splits) -> SurveyTable:
  splits = [of for of in splits if of.get('prompts')]
  by = ', '.join(sorted({of['prompts']['documents_by'] for of in splits}))

  def row(of):
    asked = of['prompts']
    return (
      _lengths(asked),
      f'{asked["sampled"]:,}',
      _share(asked['cut'], asked['sampled']),
      _share(of['long_outputs'], of['examples']),
    )

  return SurveyTable(
    'What the limits cut',
    SPLIT,
    ('tokens of prompts', 'sampled', 'cut prompts', 'cut outputs'),
    _each(splits, row),
    f"The policy's prompts with the documents that {by} chooses, and gold "
    'outputs without reasoning, against prompt.max_input and '
    'prompt.max_output.',
  )


def _copies(splits) -> SurveyTable:
  def row(of):
    return (
      f'{of["documents"]:,}',
      _share(of['repeated'], of['documents']),
      _share(of['with_repeated'], of['examples']),
      _share(of['leaked'], of['documents']),
      _share(of['with_leaked'], of['examples']),
    )

  return SurveyTable(
    'Copies in profiles',
    SPLIT,
    ('documents', 'repeats', 'in profiles', 'near-copies', 'in profiles'),
    _each(splits, row),
    'A repeat has the words of an earlier document of its profile '
    '(--config.data.dedupe leaves it out). A near-copy holds at least '
    f'{copies.NEAR:.0%} of the output that is asked for, counted in runs of '
    f'{copies.RUN} words (--config.data.drop_leaks leaves it out).',
  )


def _odd(splits) -> SurveyTable:
  rows = []
  for of_task in _by_task(splits):
    for of in of_task:
      rows += [
        (_title(of), of['split'], said, f'{of["counts"][name]:,}')
        for name, said in COUNTED.items()
        if of['counts'].get(name)
      ]
  return SurveyTable('Odd rows', (*SPLIT, 'what'), ('number',), rows)


def _longest(splits) -> SurveyTable:
  rows = []
  for of_task in _by_task(splits):
    by_field = {}
    for longest in (x for of in of_task for x in of['longest']):
      by_field.setdefault(longest['field'], []).append(longest)
    for field, of_field in by_field.items():
      top = max(of_field, key=lambda x: x['characters'])
      task = _title(of_task[0]) if field == 'input' else ''
      rows.append((task, field, top['place'], f'{top["characters"]:,}'))
  names = 'task', 'field', 'where'
  return SurveyTable('Longest fields', names, ('characters',), rows)


def _by_task(splits) -> list[list[dict[str, Any]]]:
  found = {}
  for of in splits:
    found.setdefault(of['task'], []).append(of)
  return list(found.values())


def _each(splits, row: Callable[[dict], Sequence[str]]):
  return [r for of_task in _by_task(splits) for r in _named(of_task, row)]


def _named(of_task, row: Callable[[dict], Sequence[str]]):
  """Rows of a task, which is named in the first."""
  return [
    ('' if n else _title(of), of['split'], *row(of))
    for n, of in enumerate(of_task)
  ]


def _title(of: dict[str, Any]) -> str:
  return paper.TASK_TITLES.get(of['task'], of['task'])


def _spread(mean: float, std: float) -> str:
  return f'{mean:,.2f} ± {std:,.2f}'


def _lengths(found: dict[str, float] | None) -> str:
  if not found:
    return DASH
  return f'{found["mean"]:,.0f} / {found["p90"]:,} / {found["largest"]:,}'


def _share(part: int, of: int) -> str:
  """12 of 800 -> '12 (1.5%)'."""
  if not of:
    return DASH
  return f'{part:,} ({part / of:.1%})' if part else '0'
