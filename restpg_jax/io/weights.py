"""Reads weights from any folder of a known form, leaf by leaf.

Known are our own model folder (model.json), a Hugging Face folder
(config.json), an adapter of PEFT with its base (adapter_config.json) and a
Gemma checkpoint as DeepMind publishes it (Orbax: flat, nested or stacked). All
names and shapes are checked before anything is read, and nothing is ever
unpickled.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath
from numpy.typing import DTypeLike

from restpg_jax import errors
from restpg_jax.io import (
  adapters,
  checkpoints,
  foreign,
  peft,
  peft_settings,
  records,
  shapes,
  tensors,
  weight_folders,
)
from restpg_jax.models import formats, hf_config
from restpg_jax.models import size as sizes

TOKENIZER = weight_folders.TOKENIZER
MODEL, CONFIG, METADATA = foreign.MODEL, foreign.CONFIG, foreign.METADATA
GENERATION = 'generation_config.json'


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Weights on disk that fit their size; none of them is read yet."""

  path: epath.Path
  form: str  # 'ours', 'hf', 'gemma' or 'peft'
  size: sizes.Size
  tokenizer: epath.Path | None  # the tokenizer's file that came with it
  read: Callable[[str], np.ndarray]  # a tensor by its canonical name
  tensors: tuple[formats.Tensor, ...]
  # config.json and generation_config.json of the Hugging Face folder that it
  # is or began as, by name: what of them is not ours to decide.
  published: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  lora: adapters.Adapters | None = None  # of ours, merged when it is read

  def origin(self) -> dict[str, Any]:
    """Returns what the model.json of a model trained from it has to note."""
    return {'published': self.published} if self.published else {}

  def leaf(self, path: str, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Returns one parameter, all layers, made from one tensor at a time.

    Raises InputError where `dtype` cannot hold its numbers.
    """
    out = np.zeros(formats.shapes(self.size)[path], dtype)
    for tensor in self.tensors:
      if path in tensor.leaves:
        x = tensor.to_ours(self.read(tensor.name), path)
        if x.shape == out.shape and x.dtype == out.dtype:
          return x  # all of it: no copy
        # The embedding may have rows of padding, here or in the file.
        rows = slice(len(x)) if tensor.layers is None else tensor.layers
        part = out[rows]
        with np.errstate(over='ignore'):  # it is checked below, by name
          part[...] = x[: len(part)].reshape(part.shape)
        if out.dtype == np.float16 and not np.isfinite(part).all():
          raise errors.InputError(
            f'{self.path}: {tensor.name} holds numbers beyond the range of '
            'float16; take bfloat16'
          )
    return out

  def leaves(
    self, dtype: DTypeLike = np.float32
  ) -> Iterator[tuple[str, np.ndarray]]:
    """Yields path and value of each parameter, one at a time."""
    for path in formats.shapes(self.size):
      yield path, self.leaf(path, dtype)

  def written_as(
    self, expected: Iterable[formats.Tensor], dtype: DTypeLike
  ) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the same weights as the tensors of another format, one by one."""
    for leaves, group in itertools.groupby(expected, lambda t: t.leaves):
      # A generator of its own: at its end its leaves are freed.
      yield from self._written_as(leaves, group, dtype)

  def _written_as(
    self,
    leaves: tuple[str, ...],
    group: Iterable[formats.Tensor],
    dtype: DTypeLike,
  ) -> Iterator[tuple[str, np.ndarray]]:
    values = [self.leaf(path, dtype) for path in leaves]
    for tensor in group:
      yield tensor.name, tensor.of(values)

  def load(
    self, dtype: DTypeLike = np.float32, shardings: Any = None
  ) -> dict[str, Any]:
    """Returns the tree of parameters, as NumPy arrays on the host.

    With a tree of shardings each parameter is on its devices before the next
    is read, so that the host never holds more than one.
    """
    sharding_of = shardings and formats.flat(shardings)
    params = {}
    for path, x in self.leaves(dtype):
      if sharding_of:
        x = jax.block_until_ready(jax.device_put(x, sharding_of[path]))
      params[path] = x
    return formats.nested(params)


def load_weights(
  path: epath.PathLike, dtype: DTypeLike = np.float32, shardings: Any = None
) -> tuple[dict[str, Any], sizes.Size]:
  """Returns (parameters, size) of a folder; see Checkpoint.load."""
  checkpoint = find_checkpoint(path)
  return checkpoint.load(dtype, shardings), checkpoint.size


def find_checkpoint(path: epath.PathLike, base: str = '') -> Checkpoint:
  """Returns the checkpoint in a folder, with its tensors checked.

  An adapter of PEFT is read with its base, which is in the folder `base` or,
  if that is '', where the adapter's settings say.

  Raises InputError, with a remedy, where there is none or more than one, or
  where it is damaged.
  """
  path = epath.Path(path)
  if not path.is_dir():
    raise errors.InputError(f'{path}: {foreign.no_folder(path)}')
  names = {inner.name for inner in path.iterdir()}
  held = weight_folders.weights_in(path, names)
  if not held:
    raise errors.InputError(f'{path}: {foreign.why_not(path, names)}')
  if len(held) > 1:
    raise errors.InputError(
      f'{path}: it holds more than one model, by '
      f'{" and ".join(w.mark for w in held)}; leave one of them there'
    )
  if held[0].form == 'peft':
    return _peft(path, base)
  if base:
    raise errors.InputError(
      f'{path}: it is no adapter of PEFT and has no base; leave out {base}'
    )
  return _READERS[held[0].form](held[0].folder)


def _ours(path: epath.Path) -> Checkpoint:
  size = _model_json(path)
  tree = checkpoints.CheckpointTree(path / 'params')
  described = records.json_object(path / MODEL)
  if adapted := described.get('adapters'):
    return _adapted(path, size, tree, **adapted)
  checkpoint = _checked(path, 'ours', size, formats.ours(size), tree)
  published = described.get('published') or {}
  return dataclasses.replace(checkpoint, published=published)


def _adapted(
  path: epath.Path,
  size: sizes.Size,
  tree: checkpoints.CheckpointTree,
  *,
  base: str,
  scale: float,
) -> Checkpoint:
  """Adapters and their base, at `base` as seen from here, read as one."""
  below = find_checkpoint(foreign.resolved(path, base))
  if below.size != size:
    raise errors.InputError(
      f'{path}: adapters of a model of another size than {below.path}'
    )
  read = adapters.merged_reader(
    path,
    tree,
    read_base=below.leaf,
    base_shapes=formats.shapes(size),
    scale=scale,
  )
  return dataclasses.replace(
    below,
    path=path,
    form='ours',
    read=read,
    tensors=tuple(formats.ours(size)),
    lora=adapters.Adapters(below.path, scale, tree),
  )


def _peft(path: epath.Path, base: str) -> Checkpoint:
  """An adapter of PEFT and its base, read as one."""
  settings = peft_settings.read_settings(path)
  folder = peft.base_folder(path, base)
  if folder is None:
    raise errors.InputError(peft.missing_base(path, settings.base))
  names = {inner.name for inner in folder.iterdir()}
  if any(w.form == 'peft' for w in weight_folders.weights_in(folder, names)):
    raise errors.InputError(
      f'{path}: its base {folder} is an adapter itself; merge that one first '
      '(convert --from=BASE --to=DIR) and give DIR as the base'
    )
  below = find_checkpoint(folder)
  read = peft.merged_reader(
    path, settings, size=below.size, read_base=below.leaf, base=below.path
  )
  return dataclasses.replace(
    below,
    path=path,
    form='peft',
    tokenizer=weight_folders.tokenizer_beside(path) or below.tokenizer,
    read=read,
    tensors=tuple(formats.ours(below.size)),
  )


def _hf(path: epath.Path) -> Checkpoint:
  config = records.json_object(path / CONFIG)
  try:
    size = hf_config.parse_config(config)
    rows = hf_config.embedding_rows(config)
  except errors.InputError as e:
    raise errors.InputError(f'{path / CONFIG}: {e}') from e
  except (TypeError, ValueError, KeyError, AttributeError) as e:
    raise errors.InputError(
      f'{path / CONFIG}: damaged ({e!r}); {errors.CUT}'
    ) from e
  reader = tensors.TensorReader(path)
  canonical = _with_embedding(reader) if size.tied else formats.hf_canonical
  ignored = [formats.HF_IGNORED]
  if size.tied and _own_head(path, reader):
    size = dataclasses.replace(size, tied=False)
  if size.tied:
    # Some writers repeat the embedding as the head that is tied to it.
    ignored.append(re.compile(r'lm_head\.weight$'))
  checkpoint = _checked(
    path,
    'hf',
    size,
    formats.hf(size, rows),
    reader,
    canonical=canonical,
    ignored=ignored,
  )
  published = {
    note: records.json_object(path / note)
    for note in (CONFIG, GENERATION)
    if (path / note).is_file()
  }
  return dataclasses.replace(checkpoint, published=published)


def _with_embedding(reader: tensors.TensorReader) -> Callable[[str], str]:
  """Returns the function for the names of a folder that ties its embedding.

  Some writers keep a tied tensor by its last name: the head is the embedding.
  """
  embedding, head = (row.name for row in formats.HF_ENDS)
  names = {formats.hf_canonical(name) for name in reader.shapes}
  if embedding in names or head not in names:
    return formats.hf_canonical

  def canonical(name: str) -> str:
    name = formats.hf_canonical(name)
    return embedding if name == head else name

  return canonical


def _own_head(path: epath.Path, reader: tensors.TensorReader) -> bool:
  """Whether a head that config.json ties to the embedding differs from it.

  transformers 5 keeps them apart then, and so do we.
  """
  names = {formats.hf_canonical(name): name for name in reader.shapes}
  embedding, head = (names.get(row.name) for row in formats.HF_ENDS)
  if embedding is None or head is None or reader.equal(embedding, head):
    return False
  errors.warn_once(
    f'{path}: {CONFIG} ties the embedding and {head}, which differ: they '
    'are kept apart'
  )
  return True


def _gemma(path: epath.Path) -> Checkpoint:
  tree = checkpoints.CheckpointTree(path)
  actual = {formats.canonical(name): s for name, s in tree.shapes.items()}
  try:
    size = formats.gemma_size(actual)
  except (KeyError, ValueError) as e:
    raise errors.InputError(
      f'{path}: no Gemma checkpoint, {e} is missing or misshapen; it holds '
      f'{", ".join(sorted(actual)[:3])}, ..'
    ) from e
  if formats.uneven(actual):
    raise errors.InputError(
      f'{path}: its layers have heads of different sizes, as in a Gemma 4; of '
      "that, Hugging Face folders are read, not DeepMind's checkpoints"
    )
  if (path / MODEL).exists():
    size = _model_json(path)
  if size is None:
    raise errors.InputError(
      f'{path}: its shapes are those of no published Gemma; put a model.json '
      'with {"size": {"layers": .., ..}} beside it, as a model folder has it'
    )
  apart, types = formats.unstack_names(actual)
  gate = apart.get('layer_0/mlp/gating_einsum', ())
  # Some of DeepMind's files have the gate transposed. Its shape says so, but
  # where width and hidden are equal.
  transposed = formats.gemma_transposed(size)
  if size.width != size.hidden:
    transposed = gate == (2, size.hidden, size.width)
  rows = actual['embedder/input_embedding'][0]
  return _checked(
    path,
    'gemma',
    size,
    formats.gemma(size, rows, transposed=transposed, types=types),
    tree,
    canonical=formats.canonical,
    ignored=[formats.GEMMA_IGNORED],
  )


_READERS = {'ours': _ours, 'hf': _hf, 'gemma': _gemma}


def _checked(
  path: epath.Path,
  form: str,
  size: sizes.Size,
  expected: Sequence[formats.Tensor],
  source: checkpoints.CheckpointTree | tensors.TensorReader,
  *,
  canonical: Callable[[str], str] = str,
  ignored: Sequence[re.Pattern[str]] = (),
) -> Checkpoint:
  """Returns the checkpoint; the InputError lists unexpected differences."""
  names = {}
  for original in source.shapes:
    name = canonical(original)
    if name in names:
      raise errors.InputError(
        f'{path}: {names[name]} and {original} are one weight; remove the one '
        'that is out of date'
      )
    if not any(pattern.match(name) for pattern in ignored):
      names[name] = original
  actual = {name: source.shapes[names[name]] for name in names}
  wrong = shapes.differences(actual, {t.name: t.shape for t in expected})
  if wrong:
    raise errors.InputError(
      f'{path}: {len(wrong)} tensors do not fit {_RULES[form]}: '
      f'{shapes.listed(wrong)}'
    )
  return Checkpoint(
    path,
    form,
    size,
    weight_folders.tokenizer_beside(path),
    lambda name: source.read(names[name]),
    tuple(expected),
  )


_RULES = {  # what decides which tensors there must be
  'ours': f'its {MODEL}',
  'hf': f'its {CONFIG}',
  'gemma': 'a Gemma of its size',
}


def _model_json(path: epath.Path) -> sizes.Size:
  described = records.json_object(path / MODEL)
  try:
    return sizes.Size(**described['size'])
  except (KeyError, TypeError) as e:
    raise errors.InputError(
      f'{path / MODEL}: it describes no model ({e!r}); {errors.CUT}'
    ) from e
