"""Weights out: any checkpoint of a run as a folder that others open."""

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import assets, config, errors, experiments, storage
from restpg_jax.commands import model_card
from restpg_jax.engines import tokenizer_files, trainer
from restpg_jax.io import (
  artifacts,
  checkpoints,
  located,
  records,
  tensors,
  weights,
)
from restpg_jax.models import formats, hf_config
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import tokenizer_json

DTYPES = ('float32', 'bfloat16', 'float16')
# A tokenizer that came with these keeps them: they hold the chat template.
COMPANIONS = (
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'chat_template.json',
  'added_tokens.json',
)
LAST = {'hf': weights.CONFIG, 'gemma': weights.METADATA}
OURS_ONLY = {'norm_eps': 1e-6, 'activation': 'gelu', 'tied': True}


def convert_policy(
  export: config.ConvertArgs,
) -> tuple[model_card.Origin, epath.Path]:
  """Writes `export.to` whole or not at all; says what was taken."""
  _check(export)
  origin = find_policy(export.source, export.method)
  found = weights.find_checkpoint(origin.weights)
  dtype = jnp.dtype(export.dtype)
  name = export.tokenizer or origin.tokenizer or found.tokenizer
  if not name:
    raise errors.InputError(
      f'{origin.weights}: no tokenizer is known for it; give --tokenizer=FILE, '
      f'a SentencePiece model: {tokenizers.NEEDED}'
    )
  words = tokenizer_files.load_tokenizer(name, found.size)
  path = tokenizer_files.tokenizer_file(name)
  tokenizer_files.check_beside(path)
  found = _with_origin(found, origin)
  with _whole(epath.Path(export.to), export.format) as out:
    FORMATS[export.format](out, found, dtype, words, path)
    path.copy(out / weights.TOKENIZER)
    text = model_card.card_text(origin, found.size, export)
    (out / 'README.md').write_text(text)
  return origin, epath.Path(export.to)


def find_policy(source: str, method: str = '') -> model_card.Origin:
  """A model folder, a stage's folder or a workdir, and what is known of it."""
  path = assets.path(source)
  if (path / 'methods').is_dir():
    return of_workdir(path, method)
  if method:
    raise errors.InputError(
      f'--method={method}: {path} is no workdir with methods/*.json'
    )
  if (path / 'checkpoints').is_dir():
    done = trainer.finished_steps(path)
    if not done:
      raise errors.InputError(f'{path}: it has no whole checkpoint yet')
    path = path / 'checkpoints' / f'step_{done[-1]}'
  if (path / 'model' / weights.MODEL).exists():
    path = path / 'model'
  above = _above(path)
  stage = next((p for p in above if (p / artifacts.DONE).exists()), None)
  workdir = next((p for p in above if (p / 'methods').is_dir()), None)
  if stage is None:
    return model_card.Origin(path)
  done = records.read_json(stage / artifacts.DONE)
  policies = list(_policies(workdir)) if workdir else []
  of = next((p for p in policies if storage.absolute(p.folder) == stage), None)
  return model_card.Origin(
    path,
    tokenizer=_tokenizer(done, stage),
    stage=done,
    workdir=workdir,
    method=of.method if of and path.name == 'model' else None,
    t=of.t if of else 0,
  )


def _above(path: epath.Path) -> list[epath.Path]:
  """A folder and all that it is in; of a remote one, up to its bucket."""
  above = [path, *storage.absolute(path).parents]
  if storage.remote(path):
    return [p for p in above if len(p.parts) > 2]  # /, gs, bucket
  return above


@dataclasses.dataclass(frozen=True)
class Policy:
  """What a method came to after iteration t."""

  method: dict[str, Any]  # its record (experiments.py)
  t: int
  folder: epath.Path  # of the stage that chose it


def of_workdir(workdir: epath.Path, method: str) -> model_card.Origin:
  """The last iteration of a method, or of the one that was finished last."""
  picked = experiments.pick(workdir, method)
  last = _policy(workdir, picked, picked['iterations'][-1])
  if last is None:
    raise errors.InputError(
      f'{workdir}: the stages of {picked["label"]} are not there any more; run '
      'it again'
    )
  done = records.read_json(last.folder / artifacts.DONE)
  return model_card.Origin(
    last.folder / 'model',
    tokenizer=_tokenizer(done, last.folder),
    stage=done,
    workdir=workdir,
    method=last.method,
    t=last.t,
  )


def _policies(workdir: epath.Path) -> Iterator[Policy]:
  """Of all finished methods that are still there, the last finished last."""
  for method in experiments.by_age(workdir):
    for iteration in method['iterations']:
      if policy := _policy(workdir, method, iteration):
        yield policy


def _policy(
  workdir: epath.Path, method: dict[str, Any], iteration: dict[str, Any]
) -> Policy | None:
  """None where its stages were removed."""
  answers = workdir / iteration['answers'] / artifacts.DONE
  if not answers.exists():
    return None
  folder = workdir / records.read_json(answers)['inputs'][0]['path']
  if not (folder / artifacts.DONE).exists():
    return None
  return Policy(method, iteration['t'], folder)


def _tokenizer(done: dict[str, Any], stage: epath.Path) -> str:
  """The stages that train name a model, the base names its file."""
  found = done['cfg']['tokenizer']
  name = found if isinstance(found, str) else found['tokenizer']
  # A stage sft/train is in a folder sft of the workdir.
  workdir = storage.absolute(stage).parents[done['name'].count('/')]
  return located.resolved(name, workdir)


def _with_origin(
  found: weights.Checkpoint, origin: model_card.Origin
) -> weights.Checkpoint:
  """With what its base came with, where an older run did not keep that and
  the base is still there."""
  if found.form != 'ours' or found.published or not origin.stage:
    return found
  cfg = origin.stage['cfg']
  if isinstance(cfg['tokenizer'], dict):  # as in _tokenizer
    cfg = cfg['tokenizer']
  try:
    name = located.resolved(cfg.get('checkpoint', ''), origin.workdir or '')
    base = weights.find_checkpoint(assets.path(name))
  except errors.InputError:
    return found
  if base.size != found.size:
    return found
  return dataclasses.replace(found, published=base.published)


def _check(export: config.ConvertArgs) -> None:
  if not export.source or not export.to:
    raise errors.InputError('convert needs --from=... and --to=DIR; see --help')
  if export.format not in FORMATS:
    raise errors.InputError(
      f'--format={export.format}: known are {", ".join(FORMATS)}'
    )
  if export.dtype not in DTYPES:
    raise errors.InputError(
      f'--dtype={export.dtype}: known are {", ".join(DTYPES)}'
    )
  to = epath.Path(export.to)
  if export.format == 'gemma':
    checkpoints.orbax_path(to)  # that it can hold them
  if to.exists() and (not to.is_dir() or any(to.iterdir())):
    raise errors.InputError(
      f'--to={to} is there already; give another folder or remove it'
    )


@contextlib.contextmanager
def _whole(to: epath.Path, format: str) -> Iterator[epath.Path]:
  """A folder that takes the place of `to` when all went well; until then it
  is inside one beside `to`, with all that Orbax puts beside it."""
  if storage.remote(to):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as partial:
      made = epath.Path(partial) / 'export'
      made.mkdir()
      yield made
      _upload(made, to, last=LAST[format])
    return
  partial = to.absolute().parent / f'{to.name}.partial'
  if partial.exists():  # of an export that was killed
    partial.rmtree()
  made = partial / 'export'
  made.mkdir(parents=True)
  try:
    yield made
    if to.exists():
      os.rmdir(to)
    made.rename(to)
  finally:
    # Threads of Orbax that failed may still write: what they leave is called
    # partial, and the next export removes it.
    shutil.rmtree(partial, ignore_errors=True)


def _upload(made: epath.Path, to: epath.Path, *, last: str) -> None:
  """Copies a folder into a bucket. Folders are not renamed there at once, so
  the file without which none of it is read goes last."""
  paths = [folder / f for folder, _, names in made.walk() for f in names]
  try:
    for path in sorted(paths, key=lambda path: path == made / last):
      target = to / path.relative_to(made)
      target.parent.mkdir(parents=True, exist_ok=True)
      path.copy(target)
  except BaseException:
    to.rmtree(missing_ok=True)
    raise


def _hf(
  out: epath.Path,
  found: weights.Checkpoint,
  dtype: np.dtype,
  words: tokenizers.Tokenizer,
  tokenizer: epath.Path,
) -> None:
  """A folder for transformers."""
  size, published = found.size, found.published
  described = published.get(weights.CONFIG)
  rows = (
    hf_config.embedding_rows(described)
    if described
    else formats.HF_ROWS.get(size.vocabulary, size.vocabulary)
  )
  rows = max(rows, words.vocab_size)
  ids = {'bos_token_id': words.bos, 'eos_token_id': words.eos}
  if words.pad is not None:
    ids['pad_token_id'] = words.pad
  own = hf_config.text(described or {})
  ids |= {name: own[name] for name in ids if own.get(name) is not None}
  generation = published.get(weights.GENERATION) or ids
  written = hf_config.render_config(
    size, rows=rows, dtype=dtype.name, published=described
  )
  if not described:
    written |= ids
  if found.form == 'ours':  # trained to end with its tokenizer's end token
    written, generation = (_ending(x, words.eos) for x in (written, generation))
  tensors.write_tensors(out, found.written_as(formats.hf(size, rows), dtype))
  records.write_json(out / weights.CONFIG, written)
  records.write_json(out / weights.GENERATION, generation)
  for name, content in _tokenizer_files(tokenizer).items():
    (out / name).write_bytes(content)


def _ending(described: dict[str, Any], eos: int) -> dict[str, Any]:
  """With this end token, maybe beside others."""
  ends = described.get('eos_token_id')
  ends = ends if isinstance(ends, list) else [ends] * (ends is not None)
  if eos in ends:
    return described
  return described | {'eos_token_id': [*ends, eos] if ends else eos}


def _tokenizer_files(tokenizer: epath.Path) -> dict[str, bytes]:
  """Those that came with it; what Hugging Face needs and is not there is made
  of the SentencePiece file, with the chat template if there is one."""
  beside = [tokenizer.parent / name for name in COMPANIONS]
  came = {path.name: path.read_bytes() for path in beside if path.is_file()}
  whole, config = COMPANIONS[:2]
  if {whole, config} <= set(came):
    return came
  made = tokenizer_json.files(tokenizer.read_bytes())
  try:
    template = json.loads(came.pop(config, b'{}')).get('chat_template')
  except (ValueError, AttributeError) as e:
    raise errors.InputError(
      f'{tokenizer.parent / config}: no whole JSON ({errors.detail(e)}); '
      f'{errors.CUT}'
    ) from e
  if template:
    made[config]['chat_template'] = template
  came.pop(whole, None)
  return came | {n: records.indented(content) for n, content in made.items()}


def _gemma(
  out: epath.Path,
  found: weights.Checkpoint,
  dtype: np.dtype,
  words: tokenizers.Tokenizer,
  tokenizer: epath.Path,
) -> None:
  """DeepMind's flat layout, and the size in a model.json beside it."""
  del tokenizer
  size = found.size
  odd = [
    f'{name}={getattr(size, name)!r}'
    for name, value in OURS_ONLY.items()
    if getattr(size, name) != value
  ]
  if odd:
    raise errors.InputError(
      f'--format=gemma: a {hf_config.family(size)} model with '
      f'{", ".join(odd)} has no place there; take --format=hf'
    )
  rows = formats.GEMMA_ROWS.get(size.vocabulary, size.vocabulary)
  wanted = formats.gemma(
    size,
    max(rows, words.vocab_size),
    transposed=formats.gemma_transposed(size),
  )
  tree = {}
  for name, x in found.written_as(wanted, dtype):
    outer, inner = formats.flat_name(name)
    tree.setdefault(outer, {})[inner] = np.ascontiguousarray(x)
  checkpoints.save_tree(out, tree)
  described = json.dumps({'size': dataclasses.asdict(size)}, indent=1)
  (out / weights.MODEL).write_text(described + '\n')


FORMATS = {'hf': _hf, 'gemma': _gemma}
