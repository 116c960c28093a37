"""Writes README.md of an exported model: its method, data and results."""

from collections.abc import Iterator
from typing import Any

from etils import epath

from restpg_jax import assets, errors, variants, verb_args
from restpg_jax.commands import policies
from restpg_jax.io import artifacts, located, records
from restpg_jax.models import size as sizes

HEAD = """\
---
library_name: {library}
pipeline_tag: text-generation
tags:
- personalization
- rest-pg
---

# {title}

{parameters}
Written by restpg_jax (arXiv 2501.04167) in {dtype}.
The licence of the weights that the training began with goes on to hold.
"""
LIBRARIES = {'hf': 'transformers', 'gemma': 'gemma', 'peft': 'peft'}
OPEN = {
  'hf': """\
import transformers
model = transformers.AutoModelForCausalLM.from_pretrained(DIR)
tokenizer = transformers.AutoTokenizer.from_pretrained(DIR)""",
  'gemma': """\
from gemma import gm
params = gm.ckpts.load_params(DIR)""",
  'peft': """\
import peft
model = peft.AutoPeftModelForCausalLM.from_pretrained(DIR)""",
}


def card_text(
  origin: policies.Origin, size: sizes.Size, args: verb_args.ConvertArgs
) -> str:
  """Returns the card as Markdown.

  Paths of this machine are left out, but for the last part of their names.
  """
  if origin.method:
    title = f'{origin.method["label"]}, iteration {origin.t}'
  elif origin.stage:
    title = f'{origin.stage["name"]}, {origin.weights.parent.name}'
  else:
    title = origin.weights.name
  head = HEAD.format(
    library=LIBRARIES[args.format],
    title=title,
    dtype=args.dtype,
    parameters=(
      f'{size.layers} layers of width {size.width}, {size.vocabulary:,} tokens.'
    ),
  )
  parts = [head, f'```python\n{OPEN[args.format]}\n```\n']
  if origin.method:
    parts += ['## Method and data\n', *_method(origin.method)]
    results = origin.workdir and _results(origin.workdir)
    parts += ['## Test results\n']
    parts += _metrics(results, origin.method, origin.t)
  if origin.stage:
    parts += ['## Made by\n', *_stage(origin.stage)]
    parts += _prompt(origin.stage, origin.workdir)
  versions = (origin.stage or {}).get('versions') or artifacts.versions()
  parts += ['## Versions\n', *_lines(versions)]
  return '\n'.join(parts) + '\n'


def _method(method: dict[str, Any]) -> Iterator[str]:
  """Yields a line for each setting that a reader of the card looks for."""
  cfg = variants.settings(method)
  judge = cfg.get('reward.model.checkpoint')
  facts = {
    'method': method['method'],
    'iterations': method['iterations'][-1]['t'],
    'starts at': _last(cfg['policy.checkpoint']),
    'reward': cfg['reward.name'],
    'judge': judge and _last(judge),
    'data': (
      f'{_last(cfg["data.path"])}, setting {cfg["data.setting"]}'
      if cfg['data.path']
      else 'synthetic users (restpg_jax/data/world.py), not LongLaMP'
    ),
    'documents a prompt': cfg.get('retrieval.k'),
    'seed': cfg['seed'],
  }
  yield from _lines({k: v for k, v in facts.items() if v is not None})


def _results(workdir: epath.Path) -> dict[str, Any] | None:
  """Returns results.json of a run; None where it was not built."""
  path = workdir / 'report' / 'results.json'
  return records.read_json(path) if path.exists() else None


def _metrics(
  results: dict[str, Any] | None, method: dict[str, Any], t: int
) -> Iterator[str]:
  """Yields the lines of a table: the method's means after iteration t."""
  if results is None:
    yield 'None: the report of the run had not been built.\n'
    return
  key = method['key']
  known = results.get('experiments')  # older reports: one of each name
  known = known or {method['label']: key}
  label = next((label for label in known if known[label] == key), '')
  iterations = results['methods'].get(label, {}).get('iterations', ())
  iteration = next((i for i in iterations if i['t'] == t), None)
  if iteration is None:
    yield 'None: the report of the run is older than this model.\n'
    return
  tasks = len(iteration['tasks'])
  columns = iteration['tasks'] | {f'macro {tasks}': iteration['macro']}
  if 'email_generation' in iteration['tasks'] and iteration.get('macro_public'):
    columns[f'macro {tasks - 1}, without e-mail'] = iteration['macro_public']
  yield f'| | {" | ".join(columns)} |'
  yield '|---' * (len(columns) + 1) + '|'
  for name, value in iteration['macro'].items():
    if isinstance(value, float) and not name.endswith('_stderr'):
      cells = ' | '.join(_mean(column, name) for column in columns.values())
      yield f'| {name} | {cells} |'
  yield ''


def _mean(numbers: dict[str, Any], name: str) -> str:
  """Writes a mean with its standard error, where there is one."""
  value, error = numbers.get(name), numbers.get(f'{name}_stderr')
  if value is None:
    return ''
  return f'{value:.4f}' + (f' ± {error:.3f}' if error is not None else '')


def _stage(stage: dict[str, Any]) -> Iterator[str]:
  """Yields a line for each number in a stage's summary."""
  plain = {
    key: value
    for key, value in stage['summary'].items()
    if key != 'expected' and isinstance(value, int | float | str)
  }
  yield from _lines({'stage': stage['name']} | plain)


def _prompt(stage: dict[str, Any], workdir: epath.Path | None) -> Iterator[str]:
  """Yields the template of the policy's prompts, where it still exists."""
  name = (stage['cfg'].get('prompt') or {}).get('template')
  if not name:
    return
  if workdir:
    name = located.resolved(name, workdir)
  try:
    template = assets.path(name).read_text()
  except (errors.InputError, OSError, UnicodeDecodeError):
    return
  yield '## Prompt\n'
  yield f'A jinja2 template:\n\n````\n{template.rstrip()}\n````\n'


def _lines(facts: dict[str, Any]) -> Iterator[str]:
  for name, value in facts.items():
    yield f'* {name.replace("_", " ")}: {value}'
  yield ''


def _last(name: str) -> str:
  """Returns the last part of a path."""
  return epath.Path(name).name
