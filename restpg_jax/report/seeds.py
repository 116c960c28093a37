"""Combines runs that differ in their seeds only: means, intervals, tests."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from restpg_jax import types, variants
from restpg_jax.report import compare
from restpg_jax.rewards import significance

Runs = dict[str, str]  # of one experiment: seed -> label
SPLITS = 'test', 'validation'
COLUMNS = (*types.EVERY_TASK, 'macro', 'macro_public')


def combine(
  methods: Sequence[dict[str, Any]],
  numbers: Mapping[str, dict[str, Any]],
  pairs: Sequence[dict[str, Any]],
) -> dict[str, Any]:
  """Returns what several seeds say together; no groups where none has several.

  `methods` are records with labels, `numbers` those of each label, `pairs` of
  compare.between_methods. Returns

  {'groups': {'rest_pg': {'runs': {'0': 'rest_pg (seed 0)', ..}, 'iterations':
  [{'t': 0, 'test': {'reward': {column: Spread and `values` by seed}, ..},
  'validation': the same}]}}, 'pairs': [{'a', 'b', 'seeds': compared, 'refused':
  those with different test sets, 'reward': {column: Difference}, ..}], 'gains':
  [{'a', 'from', 'to', 'seeds', 'reward': ..}]}.
  """
  runs = groups(methods)
  if all(len(by_seed) < 2 for by_seed in runs.values()):
    runs = {}
  compared = {(pair['a'], pair['b']): pair for pair in pairs}
  return {
    'test': significance.OVER_SEEDS,
    'groups': {
      name: {'runs': by_seed, 'iterations': _iterations(by_seed, numbers)}
      for name, by_seed in runs.items()
    },
    'pairs': [
      {'a': a, 'b': b, **_pair(runs[a], runs[b], numbers, compared)}
      for b, a in itertools.combinations(runs, 2)
    ],
    'gains': [
      {'a': name, **_gain(by_seed, numbers)}
      for name, by_seed in runs.items()
      if len(numbers[next(iter(by_seed.values()))]['iterations']) > 1
    ],
  }


def groups(methods: Sequence[dict[str, Any]]) -> dict[str, Runs]:
  """Returns the runs of each experiment by seed, by a label without seeds.

  {'sft': {'0': 'sft (seed 0)', '1': 'sft (seed 1)'}, 'rest_pg (m 8)': ..}; of
  two runs of one seed, which other code made, the one that finished last.
  """
  texts = variants.seed_texts(methods)
  seed = dict(zip((m['label'] for m in methods), texts, strict=True))
  by_name: dict[str, list[list[dict[str, Any]]]] = {}
  for group in variants.repetitions(methods):
    by_name.setdefault(group[0]['method'], []).append(group)
  return {
    label: {
      seed[record['label']]: record['label']
      for record in sorted(group, key=lambda r: r.get('number', 0))
    }
    for name, same_name in by_name.items()
    for label, group in zip(_labels(name, same_name), same_name, strict=True)
  }


def _labels(name: str, same_name: list[list[dict[str, Any]]]) -> list[str]:
  """Returns a label for each group, by the settings in which they differ."""
  if len(same_name) == 1:
    return [name]
  first = [group[0] for group in same_name]
  texts = variants.setting_texts(first, variants.repeated)
  return [f'{name} ({text})' for text in texts]


def _iterations(
  by_seed: Runs, numbers: Mapping[str, dict[str, Any]]
) -> list[dict[str, Any]]:
  """Returns means over the seeds of each iteration."""
  iterations = {
    seed: {i['t']: i for i in numbers[label]['iterations']}
    for seed, label in by_seed.items()
  }
  every = sorted({t for by_t in iterations.values() for t in by_t})
  return [
    {
      't': t,
      **{
        split: _spreads(
          {
            seed: by_t[t] if split == 'test' else by_t[t]['validation']
            for seed, by_t in iterations.items()
            if t in by_t
          }
        )
        for split in SPLITS
      },
    }
    for t in every
  ]


def _spreads(
  by_seed: dict[str, dict[str, Any] | None],
) -> dict[str, dict[str, dict[str, Any]]]:
  """Returns {'reward': {'macro': Spread with `values` by seed, ..}, ..}."""
  spreads: dict[str, dict[str, dict[str, Any]]] = {}
  for score, column in itertools.product(compare.TESTED, COLUMNS):
    values = {
      seed: value
      for seed, summary in by_seed.items()
      if (value := _value(summary, column, score)) is not None
    }
    if values:
      spread = significance.over_runs([*values.values()])
      spreads.setdefault(score, {})[column] = {
        **dataclasses.asdict(spread),
        'values': values,
      }
  return spreads


def _pair(
  a: Runs,
  b: Runs,
  numbers: Mapping[str, dict[str, Any]],
  compared: Mapping[tuple[str, str], dict[str, Any]],
) -> dict[str, Any]:
  """Compares the last iterations of two experiments, seed by seed."""
  common = [seed for seed in a if seed in b]
  either = {frozenset(labels): pair for labels, pair in compared.items()}
  pair_of = {
    seed: pair
    for seed in common
    if (pair := either.get(frozenset((a[seed], b[seed]))))
  }
  tests = _differences(
    (numbers[a[seed]]['iterations'][-1], numbers[b[seed]]['iterations'][-1])
    for seed in pair_of
  )
  if any(pair['reward'] is None for pair in pair_of.values()):
    tests['reward'] = {}  # of different rewards
  refused = [seed for seed in common if seed not in pair_of]
  return {'seeds': [*pair_of], 'refused': refused, **tests}


def _gain(
  by_seed: Runs, numbers: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
  """Compares the last iteration of an experiment with its first."""
  iterations = [numbers[label]['iterations'] for label in by_seed.values()]
  return {
    'from': iterations[0][0]['t'],
    'to': iterations[0][-1]['t'],
    'seeds': [*by_seed],
    **_differences((i[-1], i[0]) for i in iterations),
  }


def _differences(
  sides: Iterable[tuple[dict[str, Any], dict[str, Any]]],
) -> dict[str, dict[str, dict[str, Any]]]:
  """Returns {'reward': {'macro': Difference, ..}, ..} of pairs of summaries."""
  sides = [*sides]
  tests: dict[str, dict[str, dict[str, Any]]] = {s: {} for s in compare.TESTED}
  for score, column in itertools.product(compare.TESTED, COLUMNS):
    values = [
      (_value(a, column, score), _value(b, column, score)) for a, b in sides
    ]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    if known and len(known) == len(values):
      a, b = ([*side] for side in zip(*known, strict=True))
      test = significance.paired_runs(a, b)
      tests[score][column] = dataclasses.asdict(test)
  return tests


def _value(
  summary: dict[str, Any] | None, column: str, score: str
) -> float | None:
  """Returns a mean of a summary (compare.summarize), None if it lacks it."""
  summary = summary or {'tasks': {}}
  means = summary['tasks'].get(column) or summary.get(column) or {}
  return means.get(score)
