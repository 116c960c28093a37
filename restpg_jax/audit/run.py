"""Audits the reward of a run: probes, forms for people, and their answers."""

import dataclasses
from typing import Any

from etils import epath

from restpg_jax import config, errors, paper, verb_args
from restpg_jax.audit import (
  cases,
  draws,
  forms,
  lengths,
  matrix,
  page,
  people,
  scale,
  sheets,
  subjects,
  trials,
)
from restpg_jax.engines import input_files, reward_log, rewards
from restpg_jax.io import compiled, fingerprints, lock, pages, records
from restpg_jax.parallel import layout as layouts

FOLDER = 'audit'  # of a workdir
PEOPLE, AUDIT, PAGE = 'people.json', 'audit.json', 'audit.html'
TRIALS = (
  *(*trials.BASES, *trials.PROBES),
  *(*trials.LENGTHS, *trials.POSITIONS),
)


def run_audit(
  workdir: epath.PathLike, args: verb_args.AuditArgs, compute: config.Compute
) -> None:
  """Writes WORKDIR/audit, or only reads the sheets that `args` names.

  Raises InputError for flags and sheets that are wrong.
  """
  out = epath.Path(workdir) / FOLDER
  if args.sheet:
    read_sheets(out, args.sheet)
    return
  counts = {
    name: number_of(name, getattr(args, name), lowest)
    for name, lowest in (
      *(('pairs', 0), ('ratings', 0)),
      *(('examples', 0), ('seed', 0)),
    )
  }
  gap = gap_of(args.gap)
  subject = subjects.read_subject(workdir, args.method)
  count = counts.pop('examples')
  write_forms(subject, out, gap=gap, **counts)
  if count:
    with lock.exclusive(out):
      audit = probe(subject, out, count, counts['seed'], compute)
    records.write_json(out / AUDIT, audit)
    pages.write_page(out / PAGE, page.audit_page(audit))
    print('\n'.join(page.audit_lines(audit)))
    print(out / PAGE)


def probe(
  subject: subjects.Subject,
  out: epath.Path,
  count: int,
  seed: int,
  compute: config.Compute,
) -> dict[str, Any]:
  """Returns what audit.json holds: what the reward gives to which texts.

  What it has given stays in a folder of `out`, one for each reward, and is not
  computed again.
  """
  drawn = cases.draw_cases(subject.own, count=count, seed=seed)
  results = trials.outcomes(
    drawn, TRIALS, ask(subject, out, trials.queries(drawn, TRIALS), compute)
  )
  return {
    'method': subject.label,
    'reward': dataclasses.asdict(subject.reward),
    'seed': seed,
    'cases': len(drawn),
    'synthetic': all(case.example.truth for case in drawn),
    'bases': trials.summarize(trials.BASES, results),
    'probes': trials.summarize(trials.PROBES, results),
    'length': {
      'trials': trials.summarize(trials.LENGTHS, results),
      'answers': lengths.length_numbers(subject.last),
    },
    'position': trials.summarize(trials.POSITIONS, results),
    'scale': scale.scale_numbers(subject.evaluations, drawn, results),
    'metrics': matrix.matrix_numbers(subject.last),
    'draws': [
      {'store': store.method, 't': store.t, **matrix.matrix_numbers([store])}
      for store in draws.read_draws(subject, count=count, seed=seed)
      if store.answers
    ],
  }


def ask(
  subject: subjects.Subject,
  out: epath.Path,
  queries: list[rewards.RewardQuery],
  compute: config.Compute,
) -> reward_log.QueryRewards:
  """Returns the rewards of queries, those that are known from their folder."""
  mark = fingerprints.digest(
    fingerprints.meaning(subject.reward, input_files.READS)
  )
  programs = subject.workdir / 'compiled'
  with compiled.programs_in(programs, compute.cache):
    return reward_log.rewards_of(
      lambda: queries,
      out=out / f'judged-{mark[:12]}',
      settings=subject.reward,
      layout=layouts.Layout.of(compute),
    )


def write_forms(
  subject: subjects.Subject,
  out: epath.Path,
  *,
  pairs: int,
  ratings: int,
  gap: float,
  seed: int,
) -> None:
  """Writes the forms of the last iterations' answers; 0 of a kind: none."""
  chosen = []
  if pairs:
    chosen.append(
      forms.pairs_form(subject.last, gap=gap, count=pairs, seed=seed)
    )
  if ratings:
    chosen.append(forms.ratings_form(subject.last, count=ratings, seed=seed))
  for form in chosen:
    paths = sheets.write_form(out, form)
    print(f'{len(form.items)} {form.kind}:', *paths)
  if chosen:
    print(
      f'give people a .csv or .html, and nothing of {out / sheets.KEYS}; read '
      'what comes back by --sheet=FILE'
    )


def read_sheets(out: epath.Path, names: str) -> list[dict[str, Any]]:
  """Compares filled sheets with the judge: prints it, writes people.json."""
  paths = list(dict.fromkeys(name for name in names.split(',') if name))
  filled = [sheets.read_sheet(epath.Path(p).expanduser(), out) for p in paths]
  compared = people.compare_sheets(filled)
  records.write_json(out / PEOPLE, {'forms': compared, 'paper': paper.HUMANS})
  print('\n'.join(people.people_lines(compared)))
  print(out / PEOPLE)
  return compared


def number_of(name: str, text: str, lowest: int) -> int:
  """Returns a flag's whole number; raises InputError where it is none."""
  try:
    number = int(text)
  except ValueError:
    number = lowest - 1
  if number < lowest:
    raise errors.InputError(
      f'--{name}={text}: it must be a whole number, {lowest} or more'
    )
  return number


def gap_of(text: str) -> float:
  """Returns the gap of --gap; raises InputError unless it is in (0, 1]."""
  try:
    gap = float(text)
  except ValueError:
    gap = 0.0
  if not 0 < gap <= 1:
    raise errors.InputError(
      f'--gap={text}: it must be a number above 0 and at most 1'
    )
  return gap
