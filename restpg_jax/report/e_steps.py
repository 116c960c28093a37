"""Counts what each E-step drew, how that was rewarded, and what was kept."""

import collections
import itertools
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from restpg_jax import config, types
from restpg_jax.io import records, samples
from restpg_jax.report import lengths, moments, timing
from restpg_jax.rewards import selection
from restpg_jax.text import templates

VERSION = 1  # of the numbers; those of another one are counted anew
NAME = re.compile(r'e_step(\d+)/select')
Row = dict[str, Any]


def read(
  workdir: epath.Path,
  methods: Sequence[dict[str, Any]],
  stages: Sequence[dict[str, Any]],
  known: Sequence[Row] = (),
) -> list[Row]:
  """Returns a row for each E-step of each method: {'method', 't', ..}.

  `methods` and `stages` as timing.stage_speeds has them. The samples of an
  E-step are read once; those of `known`, the rows of an earlier report, not at
  all. E-steps whose samples were removed are left out.
  """
  counted = {
    row['stage']: row for row in known if row.get('version') == VERSION
  }
  rows = []
  for method in methods:
    needed = timing.needed_stages(method, [*stages])
    for stage in stages:
      match = NAME.fullmatch(stage['name'])
      mark = stage['fingerprint']
      if not match or mark not in needed:
        continue
      if mark not in counted:
        numbers = _numbers(workdir, method, stage)
        if numbers is None:
          continue
        counted[mark] = {'version': VERSION, 'stage': mark, **numbers}
      own = {'method': method['label'], 't': int(match[1])}
      rows.append(counted[mark] | own)
  return rows


def _numbers(
  workdir: epath.Path, method: dict[str, Any], stage: dict[str, Any]
) -> Row | None:
  """Reads the samples of an E-step as a stream; None where they are gone."""
  folders = [workdir / source['path'] for source in stage['inputs']]
  kept = workdir / stage['folder'] / 'trajectories.jsonl'
  files = [kept, *(folder / 'scored.jsonl' for folder in folders)]
  if not all(path.exists() for path in files):
    return None
  cfg, rounds = stage['cfg']['select'], stage['cfg']['rounds']
  rule = config.Select(
    **{k: v for k, v in cfg.items() if hasattr(config.Select(), k)}
  )
  output = method['output'] and templates.Output(**method['output'])
  tally = Tally(
    accept=selection.lowest_kept(rule),
    m=rounds[-1],
    max_output=method['config']['prompt']['max_output'],
  )
  # Only j < m of a store that a larger budget may have extended since.
  for group, count in _with_kept(samples.by_example(folders, rounds), kept):
    tally.add(group, count, output)
  return tally.numbers()


def _with_kept(
  groups: Iterator[list[types.Trajectory]], kept: epath.Path
) -> Iterator[tuple[list[types.Trajectory], int]]:
  """Yields the samples of each input with the number that select kept."""
  chosen = itertools.groupby(
    records.read(kept, types.Trajectory), lambda sample: sample.example_id
  )
  ahead = next(chosen, None)
  for group in groups:
    count = 0
    if ahead and group and ahead[0] == group[0].example_id:
      count = sum(1 for _ in ahead[1])
      ahead = next(chosen, None)
    yield group, count


class Tally:
  """Counts over the inputs of an E-step, which come one by one."""

  def __init__(self, *, accept: float, m: int, max_output: int):
    self._accept, self._m = accept, m
    self._samples = self._accepted = self._inputs = 0
    self._rewards: collections.Counter[float] = collections.Counter()
    self._kept: collections.Counter[int] = collections.Counter()
    self._reward, self._share = moments.Moments(), moments.Moments()
    self._spread = moments.Moments()
    self._zero = moments.Moments()
    sizes = [2**n for n in range(m.bit_length()) if 2**n <= m]
    self._passed = {k: moments.Moments() for k in dict.fromkeys([*sizes, m])}
    self._lengths = lengths.Lengths(max_output)

  def add(
    self,
    group: Sequence[types.Trajectory],
    kept: int,
    output: templates.Output | None,
  ) -> None:
    """Counts the samples of one input, `kept` of which train the policy."""
    if not group:
      return
    rewards = [sample.scored_reward for sample in group]
    accepted = sum(reward >= self._accept for reward in rewards)
    self._inputs += 1
    self._samples += len(group)
    self._accepted += accepted
    self._kept[kept] += 1
    # Labels are tenths; other rewards are counted to the nearest one.
    self._rewards.update(round(reward, 1) for reward in rewards)
    self._reward.add(statistics.fmean(rewards))
    self._share.add(accepted / len(group))
    if len(group) > 1:
      spread = statistics.stdev(rewards)
      self._spread.add(spread)
      self._zero.add(spread < 1e-12)
    for k, passed in self._passed.items():
      passed.add(pass_at(k, len(group), accepted))
    for sample in group:
      reasoning, answer = '', sample.text
      if output:
        reasoning, answer = output.split(sample.text)
      self._lengths.add(
        tokens=sample.tokens,
        ended=sample.ended,
        reasoning=reasoning,
        answer=answer,
        reward=sample.scored_reward,
      )

  def numbers(self) -> Row:
    """Returns what results.json holds; pairs are [mean, standard error] over
    inputs, and shares of `rewards` and `kept` are counts."""
    return {
      'm': self._m,
      'inputs': self._inputs,
      'samples': self._samples,
      'accept': self._accept,
      'reward': self._reward.pair(),
      'reward_std': self._spread.pair(),
      'frac_reward_zero_std': self._zero.pair(),
      'accepted': [self._accepted / self._samples, self._share.stderr]
      if self._samples
      else [None, None],
      'pass_at': {str(k): sums.pair() for k, sums in self._passed.items()},
      'rewards': {f'{r:g}': n for r, n in sorted(self._rewards.items())},
      'kept': {str(n): count for n, count in sorted(self._kept.items())},
      **self._lengths.numbers(),
    }


def pass_at(k: int, n: int, accepted: int) -> float:
  """Returns the chance that k of n samples, drawn without putting back, have an
  accepted one: 1 - C(n - c, k) / C(n, k), unbiased (Chen et al., 2021).

  Where rounds of drawing stopped early, n may be below k.

  k = 2 of n = 4, one of which is accepted  ->  1 - 3 / 6 = 0.5
  """
  k = min(k, n)
  return 1 - math.comb(n - accepted, k) / math.comb(n, k)


def by_run(rows: Sequence[Row]) -> Mapping[tuple[str, int], Row]:
  """Returns the rows by label and iteration."""
  return {(row['method'], row['t']): row for row in rows}
