"""Inspects before a run what is there, what is missing and what the data is.

A run stops at the first fault; this goes on, and says how to mend each.
"""

import dataclasses
import textwrap
from collections.abc import Iterator

from etils import epath

from restpg_jax import cautions, config, errors, restpg, validate
from restpg_jax.doctor import (
  findings,
  inspection,
  machine,
  page,
  survey,
  survey_tables,
)
from restpg_jax.io import artifacts, pages, records

FILES = 'doctor.json', 'doctor.html'
WIDTH = 100  # columns of a terminal
NAME, STATE = 32, 9  # columns of a finding's name and state


def run_doctor(cfg: config.Config, workdir: str) -> None:
  """Prints what it finds and writes it as doctor.json and doctor.html.

  Raises InputError where something that a run needs is missing or broken.
  """
  out = _writable(workdir or '.')
  seen, splits = [], []
  for result in inspect_run(cfg, out):
    if isinstance(result, dict):
      splits.append(result)
    elif result not in seen:
      seen.append(result)
      print(finding_line(result), flush=True)
  bad = list(dict.fromkeys(f.name for f in seen if f.state in findings.BAD))
  diagnosis = {
    'bad': bad,
    'findings': [dataclasses.asdict(finding) for finding in seen],
    'splits': splits,
    'config': dataclasses.asdict(cfg),
    'versions': artifacts.versions(),
  }
  tables = survey_tables.build_tables(splits, synthetic=not cfg.data.path)
  for table in tables:
    note = f'\n{_wrapped(table.note)}' if table.note else ''
    print(f'\n{survey_tables.table_text(table)}{note}')
  records.write_json(out / FILES[0], diagnosis)
  pages.write_page(out / FILES[1], page.doctor_page(diagnosis, tables))
  print(*(out / name for name in FILES))
  if bad:
    raise errors.InputError(
      f'missing or broken: {"; ".join(bad)}. {out / FILES[1]} says more'
    )


def inspect_run(
  cfg: config.Config, workdir: epath.Path
) -> Iterator[findings.Finding | dict]:
  """Yields all findings, and then a summary of each task and split."""
  methods = [restpg.METHODS[m] for m in cfg.methods if m in restpg.METHODS]
  reasoning = restpg.kinds(cfg)['reasoning']
  roles = inspection.roles(cfg, reasoning=reasoning)
  fits = sum(1 + cfg.iterations * m.em for m in methods)
  parts = restpg.check_methods, *validate.PARTS, restpg.check_splits
  yield from inspection.inspect_settings(cfg, parts)
  # Before any checkpoint: reading one starts JAX, whose faults belong here.
  yield from machine.devices(cfg)
  yield from inspection.inspect_data(cfg.data)
  yield from inspection.inspect_models(roles)
  for caution in cautions.cautions_of(cfg, **restpg.kinds(cfg)):
    yield findings.Finding(
      caution.about, findings.NOTE, caution.message, caution.remedy
    )
  yield from map(inspection.inspect_template, roles)
  yield from inspection.inspect_vectors(cfg)
  yield from inspection.inspect_reward(cfg.reward)
  yield from inspection.inspect_metrics(cfg.evaluate)
  yield machine.memory()
  yield machine.disk(cfg, workdir, fits=fits)
  yield from machine.installed()
  tokenizer = inspection.inspect_tokenizer(cfg.policy)
  reader = tokenizer and survey.PolicyReader(
    tokenizer, cfg.prompt, cfg.retrieval, cfg.data, reasoning, cfg.seed
  )
  yield from survey.survey_splits(cfg.data, reader)


def finding_line(finding: findings.Finding) -> str:
  """Returns a finding as lines of WIDTH columns, its remedy below."""
  begin = f'{finding.name:<{NAME}}{finding.state:<{STATE}}'
  lines = [_wrapped(finding.said, begin)]
  if finding.remedy:
    lines.append(_wrapped(f'-> {finding.remedy}', ' ' * len(begin)))
  return '\n'.join(lines)


def _writable(workdir: str) -> epath.Path:
  """Returns the folder, made if need be; InputError where it takes no file."""
  out = epath.Path(workdir)
  part = out / f'{FILES[0]}.part'
  try:
    out.mkdir(parents=True, exist_ok=True)
    part.write_text('')
    part.unlink()
  except OSError as error:
    raise errors.InputError(
      f'--workdir={out}: nothing can be written there '
      f'({errors.detail(error)}); give another folder'
    ) from error
  return out


def _wrapped(text: str, begin: str = '') -> str:
  """Wraps at blanks only: commands and paths are never parted."""
  return textwrap.fill(
    text,
    WIDTH,
    initial_indent=begin,
    subsequent_indent=' ' * len(begin),
    break_long_words=False,
    break_on_hyphens=False,
  )
