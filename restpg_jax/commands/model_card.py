"""README.md of an exported model: what it is, made from what, how good."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from etils import epath

from restpg_jax import assets, config, errors, variants
from restpg_jax.io import artifacts, located, records
from restpg_jax.models import decoder

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
LIBRARIES = {'hf': 'transformers', 'gemma': 'gemma'}
OPEN = {
  'hf': """\
import transformers
model = transformers.AutoModelForCausalLM.from_pretrained(DIR)
tokenizer = transformers.AutoTokenizer.from_pretrained(DIR)""",
  'gemma': """\
from gemma import gm
params = gm.ckpts.load_params(DIR)""",
}


@dataclasses.dataclass(frozen=True)
class Origin:
  """A folder of weights, and what its run says of it."""

  weights: epath.Path
  tokenizer: str = ''
  stage: dict[str, Any] | None = None  # DONE.json of the stage that made it
  workdir: epath.Path | None = None
  method: dict[str, Any] | None = None  # its record (experiments.py)
  t: int = 0  # after which iteration


def card_text(
  origin: Origin, size: decoder.Size, export: config.ConvertArgs
) -> str:
  """Markdown; no path of this machine but the last part of its names."""
  if origin.method:
    title = f'{origin.method["label"]}, iteration {origin.t}'
  elif origin.stage:
    title = f'{origin.stage["name"]}, {origin.weights.parent.name}'
  else:
    title = origin.weights.name
  head = HEAD.format(
    library=LIBRARIES[export.format],
    title=title,
    dtype=export.dtype,
    parameters=(
      f'{size.layers} layers of width {size.width}, {size.vocabulary:,} tokens.'
    ),
  )
  parts = [head, f'```python\n{OPEN[export.format]}\n```\n']
  if origin.method:
    parts += ['## Method and data\n', *_method(origin.method)]
    parts += ['## Test results\n', *_metrics(origin)]
  if origin.stage:
    parts += ['## Made by\n', *_stage(origin.stage)]
    parts += _prompt(origin)
  versions = (origin.stage or {}).get('versions') or artifacts.versions()
  parts += ['## Versions\n', *_lines(versions)]
  return '\n'.join(parts) + '\n'


def _method(method: dict[str, Any]) -> Iterator[str]:
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


def _metrics(origin: Origin) -> Iterator[str]:
  path = origin.workdir / 'report' / 'results.json'
  if not path.exists():
    yield 'None: the report of the run had not been built.\n'
    return
  results, key = records.read_json(path), origin.method['key']
  known = results.get('experiments')  # older reports: one of each name
  known = known or {origin.method['label']: key}
  label = next((label for label in known if known[label] == key), '')
  iterations = results['methods'].get(label, {}).get('iterations', ())
  found = next((i for i in iterations if i['t'] == origin.t), None)
  if found is None:
    yield 'None: the report of the run is older than this model.\n'
    return
  tasks = len(found['tasks'])
  columns = found['tasks'] | {f'macro {tasks}': found['macro']}
  if 'email_generation' in found['tasks'] and found.get('macro_public'):
    columns[f'macro {tasks - 1}, without e-mail'] = found['macro_public']
  yield f'| | {" | ".join(columns)} |'
  yield '|---' * (len(columns) + 1) + '|'
  for name, value in found['macro'].items():
    if isinstance(value, float) and not name.endswith('_stderr'):
      said = ' | '.join(_mean(of, name) for of in columns.values())
      yield f'| {name} | {said} |'
  yield ''


def _mean(numbers: dict[str, Any], name: str) -> str:
  """With its standard error, where there is one."""
  value, error = numbers.get(name), numbers.get(f'{name}_stderr')
  if value is None:
    return ''
  return f'{value:.4f}' + (f' ± {error:.3f}' if error is not None else '')


def _stage(stage: dict[str, Any]) -> Iterator[str]:
  plain = {
    key: value
    for key, value in stage['summary'].items()
    if key != 'expected' and isinstance(value, int | float | str)
  }
  yield from _lines({'stage': stage['name']} | plain)


def _prompt(origin: Origin) -> Iterator[str]:
  """What the policy was trained to read, where the file is still there."""
  name = (origin.stage['cfg'].get('prompt') or {}).get('template')
  if not name:
    return
  if origin.workdir:
    name = located.resolved(name, origin.workdir)
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
  return epath.Path(name).name
