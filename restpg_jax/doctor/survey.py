"""The whole data set in one pass: a census of each task and split."""

import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from restpg_jax import config, effective, errors, types
from restpg_jax.data import census, files, longlamp, rows
from restpg_jax.doctor import findings
from restpg_jax.engines import generator
from restpg_jax.io import progress
from restpg_jax.stages import retrieve
from restpg_jax.text import prompts
from restpg_jax.text import tokenizer as tokenizers

STAND_IN = 'bm25'  # for vectors, which take an encoder and its time


@dataclasses.dataclass(frozen=True)
class PolicyReader:
  """How the policy reads."""

  words: tokenizers.Tokenizer
  prompt: config.Prompt
  retrieval: config.Retrieval
  data: config.Data
  reasoning: bool
  seed: int


def survey_splits(
  data: config.Data, reader: PolicyReader | None
) -> Iterator[dict[str, Any] | findings.Finding]:
  """A summary of each task and split, and what is wrong with its rows.

  Unusable rows are passed over, and copies counted before any is left out.
  Without a reader, no tokens.
  """
  raw = dataclasses.replace(
    data, on_error='skip', dedupe=False, drop_leaks=False
  )
  for task, split in itertools.product(_tasks(data), files.NAMES):
    name, skipped = f'data, {task} {split}', []
    try:
      summary = _taken(raw, task, split, reader, skipped)
    except Exception as error:  # one fault must not hide others
      yield findings.broken(name, error)
      summary = {}
    if skipped:
      yield _unusable(name, skipped, data.on_error)
    if summary.get('examples'):
      yield summary


def prompt_tokens(
  examples: Iterable[types.Example], reader: PolicyReader
) -> dict[str, Any] | None:
  """Of the policy's prompts; None where the settings allow none."""
  retrieval = effective.retrieval(reader.retrieval)
  if retrieval.name == 'contriever':
    retrieval = dataclasses.replace(retrieval, name=STAND_IN, encoder='')
  try:
    retriever = retrieve.build_retriever(
      retrieval, seed=reader.seed, layout=None, out=None
    )
    template = generator.load_template(reader.prompt.template)
    asked = retrieve.with_contexts(
      retrieve.without_copies(examples, reader.data, {}),
      retriever,
      k=retrieval.k,
    )
    how = dict(reasoning=reader.reasoning, limit=reader.prompt.max_input)
    made = [prompts.policy(template, reader.words, e, **how) for e in asked]
  except errors.InputError:  # a finding of its own
    return None
  lengths = census.Lengths(len(prompt.ids) for prompt in made)
  cut = sum(bool(prompt.cut) for prompt in made)
  return {
    'sampled': len(made),
    'documents_by': retrieval.name,
    'cut': cut,
  } | lengths.summary()


def told(
  numbers: Iterable[int],
  name: str,
  clock: Callable[[], float] = time.monotonic,
) -> None:
  """Goes through them; a line on stderr now and then says how far."""
  last = clock()
  for n in numbers:
    if clock() - last >= progress.PERIOD:
      last = clock()
      print(f'{name}: {n:,} rows', file=sys.stderr, flush=True)


def _unusable(
  name: str, skipped: Sequence[rows.Skipped], on_error: str
) -> findings.Finding:
  """A run stops at such a row, or skips it as it is told to."""
  first = skipped[0]
  said = (
    f'{first.file}: row {first.row}: {first.reason} (rows that cannot be used: '
    f'{len(skipped):,})'
  )
  if on_error == 'skip':
    return findings.Finding(name, findings.NOTE, said)
  remedy = 'mend or remove them; --config.data.on_error=skip runs without them'
  return findings.Finding(name, findings.BROKEN, said, remedy)


def _tasks(data: config.Data) -> list[str]:
  """Those that are there."""
  if not data.path:
    return list(types.TASKS)
  try:
    folders = longlamp.folders(data.path, setting=data.setting)
  except errors.InputError:  # a finding of its own
    return []
  return [task for task, folder in folders.items() if folder.is_dir()]


def _taken(
  data: config.Data,
  task: str,
  split: str,
  reader: PolicyReader | None,
  skipped: list[rows.Skipped],
) -> dict[str, Any]:
  examples, counts = retrieve.load_examples(data, split, skipped, tasks=(task,))
  encode = reader and reader.words.encode
  of = census.Census(encode and (lambda text: len(encode(text))))
  told(of.through(examples), f'{task} {split}')
  summary = {'task': task, 'split': split} | of.summary() | {'counts': counts}
  if reader and of.examples.items:
    summary['prompts'] = prompt_tokens(of.examples.items, reader)
    summary['long_outputs'] = of.output_tokens.above(reader.prompt.max_output)
  return summary
