"""Exports any checkpoint of a run as a folder that other packages open."""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from etils import epath

from restpg_jax import assets, errors, storage, verb_args
from restpg_jax.commands import (
  adapter_folder,
  exported_tokenizer,
  model_card,
  policies,
)
from restpg_jax.engines import tokenizer_files
from restpg_jax.io import (
  checkpoints,
  hub,
  located,
  peft,
  records,
  tensors,
  weights,
)
from restpg_jax.models import formats, hf_config
from restpg_jax.models import size as sizes
from restpg_jax.text import tokenizer as tokenizers
from restpg_jax.text import turns

DTYPES = ('float32', 'bfloat16', 'float16')
# The file of a format without which no reader opens the folder.
LAST = {
  'hf': weights.CONFIG,
  'gemma': weights.METADATA,
  'peft': peft.CONFIG,
}
# The only values of these that the `gemma` package computes with.
OURS_ONLY = {
  'norm_eps': 1e-6,
  'activation': 'gelu',
  'tied': True,
  **sizes.LATER,
}


def convert_policy(
  args: verb_args.ConvertArgs,
) -> tuple[policies.Origin, epath.Path]:
  """Writes a model in another package's form, whole or not at all.

  Returns the origin of the weights and the folder `args.to`. Raises InputError
  for wrong flags and where no tokenizer is known.
  """
  _check(args)
  origin = policies.find_policy(args.source, args.method)
  if args.format == 'peft':
    trained = adapter_folder.trained_folder(origin)
    checkpoint = weights.find_checkpoint(trained)
    base, _ = adapter_folder.base_of(checkpoint, args.base)
    args = dataclasses.replace(args, base=base)
  else:
    checkpoint = weights.find_checkpoint(origin.weights, args.base)
  name = args.tokenizer or origin.tokenizer or checkpoint.tokenizer
  if not name:
    raise errors.InputError(
      f'{origin.weights}: no tokenizer is known for it; give --tokenizer=FILE; '
      f'{tokenizers.NEEDED}'
    )
  tokenizer = tokenizer_files.load_tokenizer(name, checkpoint.size)
  tokenizer_path = tokenizer_files.tokenizer_file(name)
  tokenizer_files.check_beside(tokenizer_path)
  checkpoint = _with_origin(checkpoint, origin)
  with _whole(epath.Path(args.to), args.format) as out:
    FORMATS[args.format](out, checkpoint, args, tokenizer, tokenizer_path)
    for target, content in exported_tokenizer.own_files(tokenizer_path).items():
      (out / target).write_bytes(content)
    text = model_card.card_text(origin, checkpoint.size, args)
    (out / 'README.md').write_text(text)
  return origin, epath.Path(args.to)


def _with_origin(
  checkpoint: weights.Checkpoint, origin: policies.Origin
) -> weights.Checkpoint:
  """Adds the Hugging Face settings of the base model.

  Runs of older versions did not keep them; nothing is added where the base is
  gone.
  """
  if checkpoint.form != 'ours' or checkpoint.published or not origin.stage:
    return checkpoint
  cfg = origin.stage['cfg']
  if isinstance(cfg['tokenizer'], dict):  # as in _tokenizer
    cfg = cfg['tokenizer']
  try:
    name = located.resolved(cfg.get('checkpoint', ''), origin.workdir or '')
    base = weights.find_checkpoint(assets.path(name))
  except errors.InputError:
    return checkpoint
  if base.size != checkpoint.size:
    return checkpoint
  return dataclasses.replace(checkpoint, published=base.published)


def _check(args: verb_args.ConvertArgs) -> None:
  """Raises InputError for flags that are missing or wrong."""
  if not args.source or not args.to:
    raise errors.InputError('convert needs --from=... and --to=DIR; see --help')
  if args.format not in FORMATS:
    raise errors.InputError(
      f'--format={args.format}: known are {", ".join(FORMATS)}'
    )
  if args.dtype not in DTYPES:
    raise errors.InputError(
      f'--dtype={args.dtype}: known are {", ".join(DTYPES)}'
    )
  to = epath.Path(args.to)
  if args.dry_run and not args.push:
    raise errors.InputError('--dry_run belongs to --push=ORG/NAME')
  if args.push:
    _check_push(args, to)
  if args.format == 'gemma':
    checkpoints.orbax_path(to)  # that it can hold them
  if to.exists() and (not to.is_dir() or any(to.iterdir())):
    raise errors.InputError(
      f'--to={to} is there already; give another folder or remove it'
    )


def _check_push(args: verb_args.ConvertArgs, to: epath.Path) -> None:
  """Raises InputError where the hub will not take it, before it is written."""
  hub.check_repository(args.push)
  if storage.remote(to):
    raise errors.InputError(
      f'--push={args.push} needs --to on this machine, not {to}'
    )
  if args.format == 'peft' and not adapter_folder.on_hub(args.base):
    raise errors.InputError(
      f'--push={args.push} of an adapter needs --base=ORG/NAME of its base on '
      'the hub: a folder of this machine means nothing there'
    )
  if not args.dry_run:
    hub.check_account(args.push)


def push_folder(to: epath.Path, args: verb_args.ConvertArgs) -> list[str]:
  """Uploads what `convert_policy` wrote; returns lines that say what and where.

  With --dry_run they say what would go there, and nothing does. Raises
  InputError where the upload fails.
  """
  files = [f'  {line}' for line in hub.listing(to)]
  if args.dry_run:
    return [f'{args.push}: would be uploaded, in one commit:', *files]
  address = hub.upload(to, args.push, message='Upload by restpg_jax')
  return [f'{args.push}: uploaded, {address}', *files]


@contextlib.contextmanager
def _whole(to: epath.Path, format: str) -> Iterator[epath.Path]:
  """Yields a folder that becomes `to` when all went well.

  Until then it is inside one beside `to`, with all that Orbax puts beside it.
  """
  if storage.remote(to):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as partial:
      folder = epath.Path(partial) / 'export'
      folder.mkdir()
      yield folder
      _upload(folder, to, last=LAST[format])
    return
  partial = to.absolute().parent / f'{to.name}.partial'
  if partial.exists():  # of an export that was killed
    partial.rmtree()
  folder = partial / 'export'
  folder.mkdir(parents=True)
  try:
    yield folder
    if to.exists():
      os.rmdir(to)
    folder.rename(to)
  finally:
    # Threads of Orbax that failed may still write: what they leave is called
    # partial, and the next export removes it.
    shutil.rmtree(partial, ignore_errors=True)


def _upload(exported: epath.Path, to: epath.Path, *, last: str) -> None:
  """Copies a folder into a bucket, the file `last` at the end.

  Folders are not renamed there at once; without `last` nobody reads the rest.
  """
  paths = [folder / f for folder, _, names in exported.walk() for f in names]
  try:
    for path in sorted(paths, key=lambda path: path == exported / last):
      target = to / path.relative_to(exported)
      target.parent.mkdir(parents=True, exist_ok=True)
      path.copy(target)
  except BaseException:
    to.rmtree(missing_ok=True)
    raise


def _hf(
  out: epath.Path,
  checkpoint: weights.Checkpoint,
  args: verb_args.ConvertArgs,
  tokenizer: tokenizers.Tokenizer,
  tokenizer_path: epath.Path,
) -> None:
  """Writes a folder for transformers."""
  dtype = jnp.dtype(args.dtype)
  size, published = checkpoint.size, checkpoint.published
  described = published.get(weights.CONFIG)
  rows = (
    hf_config.embedding_rows(described)
    if described
    else formats.HF_ROWS.get(size.vocabulary, size.vocabulary)
  )
  rows = max(rows, tokenizer.rows)
  ids = {
    'bos_token_id': tokenizer.bos,
    'eos_token_id': tokenizer.eos,
    'pad_token_id': tokenizer.pad,
  }
  ids = {name: number for name, number in ids.items() if number is not None}
  own = hf_config.text(described or {})
  ids |= {name: own[name] for name in ids if own.get(name) is not None}
  generation = published.get(weights.GENERATION) or _generation(ids, tokenizer)
  written = hf_config.render_config(
    size, rows=rows, dtype=dtype.name, published=described
  )
  if not described:
    written |= ids
  if checkpoint.form == 'ours':  # trained to end with its tokenizer's end token
    written, generation = (
      _ending(x, tokenizer.eos) for x in (written, generation)
    )
  tensors.write_tensors(
    out, checkpoint.written_as(formats.hf(size, rows), dtype)
  )
  records.write_json(out / weights.CONFIG, written)
  records.write_json(out / weights.GENERATION, generation)
  for name, content in exported_tokenizer.hf_files(
    tokenizer, tokenizer_path
  ).items():
    (out / name).write_bytes(content)


def _generation(
  ids: dict[str, int], tokenizer: tokenizers.Tokenizer
) -> dict[str, Any]:
  """Returns a generation_config.json: a turn that ends, ends the text, too."""
  form = turns.form_of(tokenizer)
  ends = turns.end_ids(tokenizer, form) if form else []
  if not ends:
    return ids
  return ids | {'eos_token_id': list(dict.fromkeys([tokenizer.eos, *ends]))}


def _ending(settings: dict[str, Any], eos: int) -> dict[str, Any]:
  """Returns the settings with this end token, maybe beside others."""
  ends = settings.get('eos_token_id')
  ends = ends if isinstance(ends, list) else [ends] * (ends is not None)
  if eos in ends:
    return settings
  return settings | {'eos_token_id': [*ends, eos] if ends else eos}


def _gemma(
  out: epath.Path,
  checkpoint: weights.Checkpoint,
  args: verb_args.ConvertArgs,
  tokenizer: tokenizers.Tokenizer,
  tokenizer_path: epath.Path,
) -> None:
  """Writes DeepMind's flat layout, and the size in a model.json beside it."""
  del tokenizer_path
  size = checkpoint.size
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
  specs = formats.gemma(
    size,
    max(rows, tokenizer.rows),
    transposed=formats.gemma_transposed(size),
  )
  tree = {}
  for name, x in checkpoint.written_as(specs, jnp.dtype(args.dtype)):
    outer, inner = formats.flat_name(name)
    tree.setdefault(outer, {})[inner] = np.ascontiguousarray(x)
  checkpoints.save_tree(out, tree)
  described = json.dumps({'size': size.described()}, indent=1)
  (out / weights.MODEL).write_text(described + '\n')


def _peft(
  out: epath.Path,
  checkpoint: weights.Checkpoint,
  args: verb_args.ConvertArgs,
  tokenizer: tokenizers.Tokenizer,
  tokenizer_path: epath.Path,
) -> None:
  """Writes adapters for PEFT, which name `args.base` as their base."""
  own, dtype = adapter_folder.adapters_of(checkpoint), jnp.dtype(args.dtype)
  base, described = adapter_folder.base_of(checkpoint, args.base)
  outer = adapter_folder.outer_of(described)
  named = peft.tensors_of(own, checkpoint.size, outer=outer)
  tensors.write_tensors(
    out, ((name, x.astype(dtype)) for name, x in named), shard=sys.maxsize
  )
  (out / tensors.WHOLE).rename(out / peft.TENSORS)
  records.write_json(
    out / peft.CONFIG, peft.described(own, base=base, outer=outer)
  )
  for name, content in exported_tokenizer.hf_files(
    tokenizer, tokenizer_path
  ).items():
    (out / name).write_bytes(content)


FORMATS = {'hf': _hf, 'gemma': _gemma, 'peft': _peft}
