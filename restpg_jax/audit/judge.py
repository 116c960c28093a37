"""Scores anybody's texts with the reward of a finished run."""

import dataclasses
import itertools
from collections.abc import Iterator

from etils import epath

from restpg_jax import config, errors, experiments, verb_args
from restpg_jax.audit import subjects
from restpg_jax.data import texts
from restpg_jax.engines import input_files, rewards
from restpg_jax.io import artifacts, compiled, partial_file, progress
from restpg_jax.parallel import layout as layouts

PIECE = 1024  # rows whose rewards are put on disk together


@dataclasses.dataclass(frozen=True)
class JudgeSettings:
  """Holds all that decides the scores; it is in the output's fingerprint."""

  input: str = dataclasses.field(metadata=config.FILE)
  reward: config.Reward


@dataclasses.dataclass(frozen=True)
class ScoreLine:
  """A line of the output."""

  id: str | int
  reward: float  # from 0 to 1; 0 without an answer
  cut: bool  # the judge's prompt was over its limit


@dataclasses.dataclass(frozen=True)
class Result:
  """Counts what a call has done."""

  label: str  # of the method whose reward it is
  reward: config.Reward
  texts: int  # in the output
  no_answer: int  # of them
  written: int  # by this process, as are the following
  cut: int
  total: float  # of the rewards that it wrote


def judge_texts(
  workdir: epath.PathLike, args: verb_args.JudgeArgs, compute: config.Compute
) -> Result:
  """Writes `args.output`, a line a row of `args.input`.

  The reward is the one of a method's test answers, in their precision. The file
  appears whole; after a kill the same call goes on. Raises InputError for wrong
  flags and for rows that are unusable, before anything is scored.
  """
  check_judge_args(args)
  record = experiments.pick(workdir, args.method)
  reward = subjects.test_reward(epath.Path(workdir), record)
  cfg = JudgeSettings(args.input, reward)
  counts: dict[str, int] = {}
  for _ in texts.read_texts(args.input, counts):
    pass
  with compiled.programs_in(epath.Path(workdir) / 'compiled', compute.cache):
    lines = write_scores(
      path=args.output,
      cfg=cfg,
      count=counts['rows'],
      layout=layouts.Layout.of(compute),
    )
  return Result(
    label=record['label'],
    reward=reward,
    texts=counts['rows'],
    no_answer=counts['no_answer'],
    **lines,
  )


@artifacts.stage('restpg_jax.audit.judge.write_scores')
def write_scores(
  *, path: str, cfg: JudgeSettings, count: int, layout: layouts.Layout
) -> dict[str, float]:
  """Writes the lines that are missing; returns the last counts of Result."""
  counts = {'written': 0, 'cut': 0, 'total': 0.0}
  mark = artifacts.fingerprint(
    'judge', write_scores, (), cfg, input_files.READS
  )
  with partial_file.open_partial(path, mark) as out:
    rows = itertools.islice(texts.read_texts(cfg.input), out.done, None)
    reward = rewards.build_reward(cfg.reward, layout)
    with progress.bar(count, 'texts', 'judge', out.done) as shown:
      while piece := list(itertools.islice(rows, PIECE)):
        lines = list(score_texts(piece, reward, cfg.reward.name))
        out.append(lines)
        shown.update(len(lines), rewards=[line.reward for line in lines])
        counts['written'] += len(lines)
        counts['cut'] += sum(line.cut for line in lines)
        counts['total'] += sum(line.reward for line in lines)
  return counts


def score_texts(
  piece: list[texts.ScoredText], reward: rewards.Reward, name: str
) -> Iterator[ScoreLine]:
  """Yields the scores of texts, in order; equal ones are scored once."""
  query_of_row = [
    rewards.RewardQuery(row.instruction, row.reference, row.answer)
    if row.answer
    else None
    for row in piece
  ]
  queries = list(dict.fromkeys(query for query in query_of_row if query))
  judged = {
    queries[j.index]: j
    for judgements in rewards.judgements(reward, queries, name)
    for j in judgements
  }
  for row, query in zip(piece, query_of_row, strict=True):
    if query is None:
      yield ScoreLine(row.id, 0.0, False)
    else:
      yield ScoreLine(row.id, judged[query].reward, judged[query].truncated)


def check_judge_args(args: verb_args.JudgeArgs) -> None:
  """Raises InputError for flags that are missing or wrong."""
  if not args.input or not args.output:
    raise errors.InputError(
      'judge needs --workdir=RUN, --input=FILE and --output=FILE'
    )
  source, output = epath.Path(args.input), epath.Path(args.output)
  if not source.exists() or source.is_dir():
    raise errors.InputError(
      f'--input={source}: no such file; give one with a JSON object a line'
    )
  if output.exists():
    raise errors.InputError(
      f'--output={output} is there already; give another file or remove it'
    )
