"""Compares the judge with people: agreement and correlation, appendix A."""

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from restpg_jax import paper
from restpg_jax.audit import forms, sheets
from restpg_jax.rewards import correlation

Answers = tuple[float, ...]  # of a person: +1 for A, -1 for B, 0 open; ratings


def compare_sheets(filled: Sequence[sheets.Sheet]) -> list[dict[str, Any]]:
  """Returns for each form what each sheet says of the judge, and all together.

  [{'form', 'kind', 'n', 'sheets': [{'sheet', ..} of `pair_numbers` or
  `rating_numbers`], 'between': [{'a', 'b', 'agreement' or 'correlation'}]}];
  of several sheets the last is `together`: the majority of choices, without
  draws, or the mean rating.
  """
  by_form: dict[str, list[sheets.Sheet]] = {}
  for sheet in filled:
    by_form.setdefault(sheet.form.name, []).append(sheet)
  return [_compare_form(group[0].form, group) for group in by_form.values()]


def _compare_form(
  form: forms.Form, group: list[sheets.Sheet]
) -> dict[str, Any]:
  people = {sheet.path: _numbers(sheet) for sheet in group}
  everybody = people
  if len(people) > 1:
    columns = [*zip(*people.values(), strict=True)]
    everybody = people | {'together': tuple(map(_joined(form.kind), columns))}
  numbers = pair_numbers if form.kind == forms.PAIRS else rating_numbers
  return {
    'form': form.name,
    'kind': form.kind,
    'n': len(form.items),
    'sheets': [
      {'sheet': name, **numbers(form.items, given)}
      for name, given in everybody.items()
    ],
    'between': [
      {'a': a, 'b': b, **_between(form.kind, people[a], people[b])}
      for a, b in itertools.combinations(people, 2)
    ],
  }


def pair_numbers(
  items: Sequence[forms.Item], choices: Sequence[float]
) -> dict[str, Any]:
  """Returns how often people choose the text with the higher reward.

  choices: +1 for A, -1 for B, 0 is left out. Returns {'agreement': Share,
  'correlation': correlation.of_choices, 'chose_a': Share, 'by_task': {task:
  Share}, 'true_agreement': Share of pairs whose true scores differ, None where
  they are not known}.
  """
  chosen = [
    (item, int(choice))
    for item, choice in zip(items, choices, strict=True)
    if choice
  ]
  apart = [_difference(item, 'reward') for item, _ in chosen]
  signs = [choice for _, choice in chosen]
  tasks = dict.fromkeys(item.task for item, _ in chosen)
  return {
    'agreement': _agreement(chosen, 'reward'),
    'correlation': correlation.of_choices(apart, signs) if chosen else None,
    'chose_a': dataclasses.asdict(
      correlation.share(signs.count(1), len(signs))
    ),
    'by_task': {
      task: _agreement([c for c in chosen if c[0].task == task], 'reward')
      for task in tasks
    },
    'true_agreement': _agreement(chosen, 'true_score')
    if all(t.true_score is not None for item in items for t in item.texts)
    else None,
  }


def rating_numbers(
  items: Sequence[forms.Item], ratings: Sequence[float]
) -> dict[str, Any]:
  """Returns how ratings go with rewards: {'mean', 'pearson', 'spearman', and
  'true_pearson' with true scores, None where they are not known}."""
  rewards = [item.texts[0].reward for item in items]
  true_scores = [item.texts[0].true_score for item in items]
  known = [score for score in true_scores if score is not None]
  return {
    'mean': statistics.fmean(ratings),
    'pearson': dataclasses.asdict(correlation.pearson(ratings, rewards)),
    'spearman': dataclasses.asdict(correlation.spearman(ratings, rewards)),
    'true_pearson': dataclasses.asdict(correlation.pearson(ratings, known))
    if len(known) == len(ratings)
    else None,
  }


def people_lines(compared: Sequence[dict[str, Any]]) -> list[str]:
  """Returns what a person at a terminal sees, the paper's numbers below."""
  lines = []
  for form in compared:
    title = f'{form["n"]} {form["kind"]} (form {form["form"]})'
    lines += [title, *(f'  {_line(s)}' for s in form['sheets'])]
    lines += [f'  {_between_line(pair)}' for pair in form['between']]
  humans = paper.HUMANS
  return [
    *lines,
    f'paper: {humans["pairs"]} pairs, agreement {humans["agreement"]:.0%}, '
    f'correlation {humans["correlation"]:.2f} (other models, other data)',
  ]


def _line(numbers: dict[str, Any]) -> str:
  if 'agreement' not in numbers:
    return (
      f'{numbers["sheet"]}: mean rating {numbers["mean"]:.2f}, correlation '
      f'with the reward {_r(numbers["pearson"])}, of ranks '
      f'{_r(numbers["spearman"])}'
    )
  r = numbers['correlation']
  truth = numbers['true_agreement']
  return (
    f'{numbers["sheet"]}: agreement {_share(numbers["agreement"])}, '
    f'correlation {"-" if r is None else f"{r:.2f}"}, chose A '
    f'{_share(numbers["chose_a"])}'
    + (f', agreement with the truth {_share(truth)}' if truth else '')
  )


def _between_line(pair: dict[str, Any]) -> str:
  if 'agreement' in pair:
    number = f'agreement {_share(pair["agreement"])}'
  else:
    number = f'correlation of ranks {_r(pair["correlation"])}'
  return f'{pair["a"]} and {pair["b"]}: {number}'


def _share(share: dict[str, Any]) -> str:
  if share['share'] is None:
    return '-'
  return f'{share["share"]:.0%} ({share["low"]:.0%} to {share["high"]:.0%})'


def _r(r: dict[str, Any]) -> str:
  if r['r'] is None:
    return '-'
  between = (
    f' ({r["low"]:.2f} to {r["high"]:.2f})' if r['low'] is not None else ''
  )
  return f'{r["r"]:.2f}{between}'


def _agreement(
  chosen: Sequence[tuple[forms.Item, int]], score: str
) -> dict[str, Any]:
  """Returns the share of choices for the higher score, where they differ."""
  products = [_difference(item, score) * choice for item, choice in chosen]
  decided = [p for p in products if p]
  hits = sum(p > 0 for p in decided)
  return dataclasses.asdict(correlation.share(hits, len(decided)))


def _difference(item: forms.Item, score: str) -> float:
  a, b = (getattr(text, score) for text in item.texts)
  return a - b


def _numbers(sheet: sheets.Sheet) -> Answers:
  if sheet.form.kind == forms.PAIRS:
    return tuple(1.0 if value == 'A' else -1.0 for value in sheet.values)
  return tuple(map(float, sheet.values))


def _joined(kind: str) -> Callable[[Iterable[float]], float]:
  """Returns what makes one answer of those of several people to one item."""
  if kind == forms.PAIRS:
    return lambda column: float(np.sign(sum(column)))
  return statistics.fmean


def _between(kind: str, a: Answers, b: Answers) -> dict[str, Any]:
  """Returns how two people agree with each other."""
  if kind == forms.PAIRS:
    same = sum(x == y for x, y in zip(a, b, strict=True))
    return {'agreement': dataclasses.asdict(correlation.share(same, len(a)))}
  return {'correlation': dataclasses.asdict(correlation.spearman(a, b))}
