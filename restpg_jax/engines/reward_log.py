"""The rewards of many queries: each computed once, and kept on disk."""

import collections
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator

from etils import epath

from restpg_jax import config
from restpg_jax.engines import rewards
from restpg_jax.io import append_log, progress, speed
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import mixture

PIECE = 32_768  # queries that a reward is given, and memory holds, at once


@dataclasses.dataclass(frozen=True)
class ScoredQuery:
  """A line of rewards/: a query's reward."""

  name: str  # of the query, see query_key
  reward: float
  cut: bool = False  # the judge's prompt was over its limit


@dataclasses.dataclass(frozen=True)
class QueryRewards:
  """The rewards of distinct queries, and how they came about."""

  known: dict[str, float]  # by query_key
  distinct: int  # number of queries
  truncated: int  # number of these whose prompt was over the judge's limit
  totals: dict[str, float]  # rates, for a summary

  def of(self, query: rewards.RewardQuery | None) -> float:
    """Returns the reward of a query; 0 where there is no answer."""
    return self.known[query_key(query)] if query else 0.0


def rewards_of(
  queries: Callable[[], Iterable[rewards.RewardQuery | None]],
  *,
  out: epath.Path,
  settings: config.Reward,
  layout: layouts.Layout,
  accept: float | None = None,
) -> QueryRewards:
  """Computes the rewards that out/rewards/ lacks, of each distinct query once.

  queries() gives all of them, and gives them again: it is called twice, so that
  they need not be held. `accept` is the reward from which the progress counts
  an answer as accepted.
  """
  hosts = layout.hosts
  log = append_log.AppendLog(out / 'rewards', ScoredQuery, host=hosts.index)
  # Keys alone: the texts of all queries need not be in memory.
  times = collections.Counter(query_key(q) for q in queries() if q)
  known: dict[str, float] = {}
  truncated: set[str] = set()

  def note(lines: Iterable[ScoredQuery]) -> None:
    for line in lines:
      # Of two rewards of a query the first counts: it may be used already.
      known.setdefault(line.name, line.reward)
      if line.cut and line.name in times:
        truncated.add(line.name)

  note(log)
  old = [key for key in times if key in known]
  reward = rewards.build_reward(settings, layout)

  def repeated(keys: Iterable[str]) -> list[float]:
    """Each reward as many times as its query is there."""
    return [known[key] for key in keys for _ in range(times[key])]

  with (
    log,
    progress.bar(
      len(times),
      'answers',
      'score',
      len(old),
      accept=accept,
      log=progress.log_of(out, hosts),
      compiles=mixture.asks(settings, 'judge'),
    ) as shown,
  ):
    shown.update(0, rewards=repeated(old))
    for piece in query_pieces(queries(), known):
      keys = [query_key(query) for query in piece]
      for judged in rewards.judgements(reward, piece, settings.name):
        new = [
          ScoredQuery(keys[j.index], j.reward, j.truncated) for j in judged
        ]
        log.append(new)
        note(new)
        shown.update(
          len(new),
          # None where no model reads anything: there is no speed to show.
          tokens=sum(j.tokens for j in judged) or None,
          rewards=repeated(line.name for line in new),
        )
  return QueryRewards(known, len(times), len(truncated), shown.totals())


def shared_rewards_of(
  queries: Callable[[], Iterable[rewards.RewardQuery | None]],
  *,
  out: epath.Path,
  settings: config.Reward,
  layout: layouts.Layout,
  accept: float | None = None,
) -> QueryRewards | None:
  """Does the same for queries that all hosts are given, each its share of them.

  Returns the rewards of all on the first host, None on the others.
  """
  hosts = layout.hosts

  def own() -> Iterator[rewards.RewardQuery]:
    # By input, for answers to one share their prompts.
    for query in queries():
      if query and hosts.owns(f'{query.instruction}\0{query.reference}'):
        yield query

  share = rewards_of(
    own, out=out, settings=settings, layout=layout, accept=accept
  )
  shares = hosts.gather(rates=share.totals)
  if hosts.count == 1 or not shares:
    return share if shares else None
  names = {query_key(query) for query in queries() if query}
  lines: dict[str, ScoredQuery] = {}

  def are_there() -> bool:
    log = append_log.AppendLog(out / 'rewards', ScoredQuery, host=hosts.index)
    # Of two rewards of a query the first counts.
    lines.update((line.name, line) for line in reversed(list(log)))
    return names <= lines.keys()

  append_log.await_hosts(are_there, out / 'rewards', hosts)
  return QueryRewards(
    {name: line.reward for name, line in lines.items()},
    len(names),
    sum(lines[name].cut for name in names),
    speed.of_all(shares),
  )


def query_pieces(
  queries: Iterable[rewards.RewardQuery | None], known: dict[str, float]
) -> Iterator[list[rewards.RewardQuery]]:
  """Yields lists of PIECE queries, each once, that are not known yet.

  `known` may grow meanwhile: it is looked at when a query's turn comes.
  """
  piece = {}
  for query in queries:
    if query and query_key(query) not in known:
      piece[query_key(query)] = query
      if len(piece) == PIECE:
        yield list(piece.values())
        piece = {}
  if piece:
    yield list(piece.values())


def query_key(query: rewards.RewardQuery) -> str:
  """Returns the name under which a query's reward is kept: a hash of it."""
  texts = json.dumps(dataclasses.astuple(query)).encode()
  return hashlib.blake2b(texts, digest_size=16).hexdigest()
