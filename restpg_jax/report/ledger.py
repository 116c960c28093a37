"""How we read the paper, with the values that the runs used.

The text is docs/reading_the_paper.md itself, which the package carries.
"""

import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from restpg_jax import variants

FILE = pathlib.Path(__file__).with_name('templates') / 'reading_the_paper.md'
COLUMNS = 'point', 'default', 'why', 'settings'


def rows(configs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
  """Returns the ledger: {'point', 'default', 'why', 'values'} in its order.

  values: [('draw.top_p', '0.95'), ..], of several runs '0.9 or 0.95'.
  """
  configs = [*configs]
  ledger = []
  for line in read(FILE.read_text('utf-8')):
    names = re.findall(r'`([\w.]+)`', line['settings'])
    values = [(name, used(name, configs)) for name in names]
    texts = {c: plain(line[c]) for c in COLUMNS[:-1]}
    ledger.append({**texts, 'values': values})
  return ledger


def read(text: str) -> list[dict[str, str]]:
  """Returns the rows of the first table in a Markdown page, by COLUMNS."""
  lines = [line for line in text.splitlines() if line.startswith('|')]
  cells = [
    [cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
    for line in lines[2:]
  ]
  return [dict(zip(COLUMNS, row, strict=True)) for row in cells]


def plain(text: str) -> str:
  r"""Returns Markdown without marks: '[a](b.md), `c` \| d' -> 'a, c | d'."""
  text = re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', text)
  return text.replace('`', '').replace('\\|', '|')


def used(name: str, configs: Iterable[Mapping[str, Any]]) -> str:
  """Returns a setting's values in some runs; '-' where none has it."""
  texts = {}
  for cfg in configs:
    value: Any = cfg
    for part in name.split('.'):
      value = value.get(part) if isinstance(value, Mapping) else None
    if value is not None:
      texts[variants.value_text(value)] = None
  return ' or '.join(texts) or '-'
