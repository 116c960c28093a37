"""Lays out a survey as tables, for a terminal of 100 columns and the page."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from restpg_jax import paper
from restpg_jax.data import copies

DASH = '-'
SPLIT = 'task', 'split'
COUNTED = {  # the counts of odd rows, data/longlamp.py
  'duplicate_rows': 'rows that repeat another row',
  'duplicate_users': 'rows of a user who had one before',
  'empty_profiles': 'rows without any document',
  'skipped_items': 'items of profiles without text',
  'cut_texts': 'texts cut for their length',
  'mended_texts': 'texts with half a character',
  'unused_outputs': 'outputs whose id no question has',
}
Splits = Sequence[dict[str, Any]]  # a summary of each


@dataclasses.dataclass(frozen=True)
class SurveyTable:
  """Columns of names, then of numbers."""

  title: str
  names: tuple[str, ...]
  numbers: tuple[str, ...]
  rows: list[tuple[str, ...]]
  note: str = ''  # below it


def build_tables(splits: Splits, *, synthetic: bool) -> list[SurveyTable]:
  """Returns the tables that have any rows."""
  tables = [
    _table_2(splits, synthetic),
    _tokens(splits),
    _limits(splits),
    _copies(splits),
    _odd(splits),
    _longest(splits),
  ]
  return [table for table in tables if table.rows]


def table_text(table: SurveyTable) -> str:
  """Returns a table as text, each column as wide as its widest cell."""
  grid = [table.names + table.numbers, *table.rows]
  widths = [max(map(len, column)) for column in zip(*grid, strict=True)]

  def line(row: tuple[str, ...]) -> str:
    cells = (
      cell.ljust(width) if n < len(table.names) else cell.rjust(width)
      for n, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return '  '.join(cells).rstrip()

  return '\n'.join([table.title, *map(line, grid)])


def _table_2(splits: Splits, synthetic: bool) -> SurveyTable:
  def row(summary: dict[str, Any]) -> tuple[str, ...]:
    lengths = (summary[n] for n in ('input_words', 'output_words', 'profiles'))
    published = paper.LONGLAMP.get(_title(summary))
    there = (
      published and published.examples[paper.SPLITS.index(summary['split'])]
    )
    return (
      f'{summary["examples"]:,}',
      f'{there:,}' if there else '',
      *(_spread(x['mean'], x['std']) for x in lengths),
    )

  rows = []
  for of_task in _by_task(splits):
    rows += _named(of_task, row)
    if published := paper.LONGLAMP.get(_title(of_task[0])):
      spreads = (published.input, published.output, published.profile)
      rows.append(('', 'paper', '', '', *(_spread(*x) for x in spreads)))
  note = (
    'Mean ± standard deviation over examples; words are parted by blanks, and '
    'in scripts without them a character is a word.'
  )
  if synthetic:
    note += ' These are synthetic users: the paper has others.'
  return SurveyTable(
    'Table 2 of the paper, and of this data',
    SPLIT,
    (
      *('examples', 'paper', 'words of inputs', 'words of outputs'),
      'documents a user',
    ),
    rows,
    note,
  )


def _tokens(splits: Splits) -> SurveyTable:
  splits = [summary for summary in splits if summary['tokens']]
  names = 'inputs', 'outputs', 'documents'
  return SurveyTable(
    "Tokens, by the policy's tokenizer",
    SPLIT,
    names,
    _each(
      splits, lambda summary: [_lengths(summary['tokens'][n]) for n in names]
    ),
    'Mean / 90 % have at most / largest. Of documents: a sample of each task '
    'and split.',
  )


def _limits(splits: Splits) -> SurveyTable:
  splits = [summary for summary in splits if summary.get('prompts')]
  by = ', '.join(
    sorted({summary['prompts']['documents_by'] for summary in splits})
  )

  def row(summary: dict[str, Any]) -> tuple[str, ...]:
    prompts = summary['prompts']
    return (
      _lengths(prompts),
      f'{prompts["sampled"]:,}',
      _share(prompts['cut'], prompts['sampled']),
      _share(summary['long_outputs'], summary['examples']),
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


def _copies(splits: Splits) -> SurveyTable:
  def row(summary: dict[str, Any]) -> tuple[str, ...]:
    return (
      f'{summary["documents"]:,}',
      _share(summary['repeated'], summary['documents']),
      _share(summary['with_repeated'], summary['examples']),
      _share(summary['leaked'], summary['documents']),
      _share(summary['with_leaked'], summary['examples']),
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


def _odd(splits: Splits) -> SurveyTable:
  rows = []
  for of_task in _by_task(splits):
    for summary in of_task:
      rows += [
        (
          _title(summary),
          summary['split'],
          meaning,
          f'{summary["counts"][name]:,}',
        )
        for name, meaning in COUNTED.items()
        if summary['counts'].get(name)
      ]
  return SurveyTable('Odd rows', (*SPLIT, 'what'), ('number',), rows)


def _longest(splits: Splits) -> SurveyTable:
  rows = []
  for of_task in _by_task(splits):
    by_field = {}
    for longest in (x for summary in of_task for x in summary['longest']):
      by_field.setdefault(longest['field'], []).append(longest)
    for field, of_field in by_field.items():
      top = max(of_field, key=lambda x: x['characters'])
      task = _title(of_task[0]) if field == 'input' else ''
      rows.append((task, field, top['place'], f'{top["characters"]:,}'))
  names = 'task', 'field', 'where'
  return SurveyTable('Longest fields', names, ('characters',), rows)


def _by_task(splits: Splits) -> list[list[dict[str, Any]]]:
  by_task = {}
  for summary in splits:
    by_task.setdefault(summary['task'], []).append(summary)
  return list(by_task.values())


def _each(
  splits: Splits, row: Callable[[dict[str, Any]], Sequence[str]]
) -> list[tuple[str, ...]]:
  """Returns the rows of all tasks."""
  return [r for of_task in _by_task(splits) for r in _named(of_task, row)]


def _named(
  summaries: Splits, row: Callable[[dict[str, Any]], Sequence[str]]
) -> list[tuple[str, ...]]:
  """Returns the rows of a task, which is named in the first of them."""
  return [
    ('' if n else _title(summary), summary['split'], *row(summary))
    for n, summary in enumerate(summaries)
  ]


def _title(summary: dict[str, Any]) -> str:
  task: str = summary['task']
  return paper.TASK_TITLES.get(task, task)


def _spread(mean: float, std: float) -> str:
  return f'{mean:,.2f} ± {std:,.2f}'


def _lengths(lengths: dict[str, float] | None) -> str:
  if not lengths:
    return DASH
  return f'{lengths["mean"]:,.0f} / {lengths["p90"]:,} / {lengths["largest"]:,}'


def _share(part: int, whole: int) -> str:
  """Returns a count and its share: 12 of 800 -> '12 (1.5%)'."""
  if not whole:
    return DASH
  return f'{part:,} ({part / whole:.1%})' if part else '0'
