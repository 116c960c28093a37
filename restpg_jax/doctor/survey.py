"""Surveys the whole data set in one pass: a census of each task and split."""

import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from restpg_jax import config, effective, errors, types
from restpg_jax.data import census, files, longlamp, rows
from restpg_jax.doctor import findings
from restpg_jax.engines import prompting
from restpg_jax.io import progress
from restpg_jax.stages import retrieve
from restpg_jax.text import prompts
from restpg_jax.text import tokenizer as tokenizers

STAND_IN = 'bm25'  # replaces vectors, which need an encoder and its time


@dataclasses.dataclass(frozen=True)
class PolicyReader:
  """What decides the tokens of the policy's prompts."""

  tokenizer: tokenizers.Tokenizer
  prompt: config.Prompt
  retrieval: config.Retrieval
  data: config.Data
  reasoning: bool
  seed: int


def survey_splits(
  data: config.Data, reader: PolicyReader | None
) -> Iterator[dict[str, Any] | findings.Finding]:
  """Yields a summary of each task and split, and findings of unusable rows.

  Unusable rows are passed over, and copies are counted before any is left out.
  Without a reader, tokens are not counted.
  """
  # With the run's own settings nothing would be left to report.
  raw = dataclasses.replace(
    data, on_error='skip', dedupe=False, drop_leaks=False
  )
  for task, split in itertools.product(_tasks(data), files.NAMES):
    name, skipped = f'data, {task} {split}', []
    try:
      summary = _survey_split(raw, task, split, reader, skipped)
    except Exception as error:  # one fault must not hide others
      yield findings.broken(name, error)
      summary = {}
    if skipped:
      yield _unusable_rows(name, skipped, data.on_error)
    if summary.get('examples'):
      yield summary


def prompt_tokens(
  examples: Iterable[types.Example], reader: PolicyReader
) -> dict[str, Any] | None:
  """Returns counts of the policy's prompts, or None where there are none."""
  retrieval = effective.retrieval(reader.retrieval)
  if retrieval.name == 'contriever':
    retrieval = dataclasses.replace(retrieval, name=STAND_IN, encoder='')
  try:
    retriever = retrieve.build_retriever(
      retrieval, seed=reader.seed, layout=None, out=None
    )
    template = prompting.load_template(reader.prompt.template)
    with_documents = retrieve.with_contexts(
      retrieve.without_copies(examples, reader.data, {}),
      retriever,
      k=retrieval.k,
    )
    policy_prompts = [
      prompts.policy(
        template,
        reader.tokenizer,
        example,
        reasoning=reader.reasoning,
        limit=reader.prompt.max_input,
      )
      for example in with_documents
    ]
  except errors.InputError:  # a finding of its own
    return None
  lengths = census.Lengths(len(prompt.ids) for prompt in policy_prompts)
  summary = lengths.summary()
  if summary is None:  # no examples
    return None
  cut = sum(bool(prompt.cut) for prompt in policy_prompts)
  return {
    'sampled': len(policy_prompts),
    'documents_by': retrieval.name,
    'cut': cut,
  } | summary


def report_progress(
  numbers: Iterable[int],
  name: str,
  clock: Callable[[], float] = time.monotonic,
) -> None:
  """Consumes the numbers and prints one to stderr every progress.PERIOD s."""
  last = clock()
  for n in numbers:
    if clock() - last >= progress.PERIOD:
      last = clock()
      print(f'{name}: {n:,} rows', file=sys.stderr, flush=True)


def _unusable_rows(
  name: str, skipped: Sequence[rows.Skipped], on_error: str
) -> findings.Finding:
  """Returns the finding of unusable rows, at which a run may stop."""
  first = skipped[0]
  message = (
    f'{first.file}: row {first.row}: {first.reason} (rows that cannot be used: '
    f'{len(skipped):,})'
  )
  if on_error == 'skip':
    return findings.Finding(name, findings.NOTE, message)
  remedy = 'mend or remove them; --config.data.on_error=skip runs without them'
  return findings.Finding(name, findings.BROKEN, message, remedy)


def _tasks(data: config.Data) -> list[str]:
  """Returns the tasks whose data is there."""
  if not data.path:
    return list(types.TASKS)
  try:
    folders = longlamp.folders(data.path, setting=data.setting)
  except errors.InputError:  # a finding of its own
    return []
  return [task for task, folder in folders.items() if folder.is_dir()]


def _survey_split(
  data: config.Data,
  task: str,
  split: str,
  reader: PolicyReader | None,
  skipped: list[rows.Skipped],
) -> dict[str, Any]:
  examples, counts = retrieve.load_examples(data, split, skipped, tasks=(task,))
  encode = reader and reader.tokenizer.encode
  counted = census.Census(encode and (lambda text: len(encode(text))))
  report_progress(counted.through(examples), f'{task} {split}')
  summary = (
    {'task': task, 'split': split} | counted.summary() | {'counts': counts}
  )
  if reader and counted.examples.items:
    summary['prompts'] = prompt_tokens(counted.examples.items, reader)
    summary['long_outputs'] = counted.output_tokens.above(
      reader.prompt.max_output
    )
  return summary
