"""Which runs a chart draws as one line: those that differ in seeds only."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from restpg_jax import paper, variants
from restpg_jax.report import seeds, tables

Record = dict[str, Any]
Sweep = dict[Any, dict[str, Record]]  # value -> seed -> its run


@dataclasses.dataclass(frozen=True)
class Group:
  """An experiment, of one run or of several seeds."""

  title: str
  method: str  # its name, a row of Table 1
  style: int  # of its line in all charts
  labels: tuple[str, ...]  # of its runs


def groups(methods: Sequence[Record]) -> list[Group]:
  """Returns the experiments in the report's order, each with its style.

  The four methods of Table 1 keep their styles, whichever of them there are;
  several experiments of one method take the others.
  """
  by_label = {record['label']: record['method'] for record in methods}
  runs = {
    name: (*by_seed.values(),)
    for name, by_seed in seeds.groups(methods).items()
  }
  usual = {name: n for n, name in enumerate(paper.TITLES)}
  free = iter(range(len(usual), len(usual) + len(runs)))
  listed, taken = [], set()
  for name, labels in runs.items():
    method = by_label[labels[0]]
    style = usual.get(method)
    if style is None or style in taken:
      style = next(free)
    taken.add(style)
    listed.append(Group(tables.title(name), method, style, labels))
  return listed


def unextended(methods: Sequence[Record]) -> list[Record]:
  """Returns the records without those that are the beginning of another one.

  Of a sweep over the number of iterations only the longest is drawn.
  """

  def runs(record: Record) -> list[tuple]:
    return [(i['t'], i['answers'], i['scores']) for i in record['iterations']]

  every = [runs(record) for record in methods]
  return [
    record
    for record, own in zip(methods, every, strict=True)
    if not any(
      len(own) < len(other)
      and own == other[: len(own)]
      and record['method'] == longer['method']
      for longer, other in zip(methods, every, strict=True)
    )
  ]


def by_setting(
  methods: Sequence[Record], axis: str, besides: Sequence[str] = ()
) -> list[Sweep]:
  """Returns the records of each sweep over one setting, by value and seed.

  Those of a sweep differ in the setting and in seeds, and in none but those of
  `besides`; of one value and seeds the last one counts. A sweep has two values
  or more.
  """
  ignored = {axis, *variants.SEEDS, *besides}

  def rest(record: Record) -> dict[str, Any]:
    known = variants.settings(record).items()
    return {name: value for name, value in known if name not in ignored}

  swept = [r for r in methods if axis in variants.settings(r)]
  sweeps = []
  for same in variants.repetitions(swept, rest):
    texts = variants.seed_texts(same)
    by_value: Sweep = {}
    for record, seed in zip(same, texts, strict=True):
      value = variants.settings(record)[axis]
      by_value.setdefault(value, {})[seed] = record
    if len(by_value) > 1:
      sweeps.append(dict(sorted(by_value.items())))
  return sweeps


def style_of(listed: Sequence[Group], method: str) -> int:
  """Returns the style of a method's first group, for the paper's curve."""
  styles: Mapping[str, int] = {
    group.method: group.style for group in reversed(listed)
  }
  return styles.get(method, 0)
