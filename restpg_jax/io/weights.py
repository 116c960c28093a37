"""Weights from any folder that we know, leaf by leaf.

Known are our own model folder (model.json), a Hugging Face folder
(config.json) and a Gemma checkpoint as DeepMind publishes it (Orbax: flat,
nested or stacked). All names and shapes are checked before anything is read,
and nothing is ever unpickled.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from restpg_jax import errors
from restpg_jax.io import checkpoints, foreign, records, shapes, tensors
from restpg_jax.models import decoder, formats, hf_config
from restpg_jax.training import lora

TOKENIZER = 'tokenizer.model'
MODEL, CONFIG, METADATA = foreign.MODEL, foreign.CONFIG, foreign.METADATA
GENERATION = 'generation_config.json'


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Weights on disk that fit their size; none of them is read yet."""

  path: epath.Path
  kind: str  # 'ours', 'hf' or 'gemma'
  size: decoder.Size
  tokenizer: epath.Path | None  # a SentencePiece file that came with it
  read: Callable[[str], np.ndarray]  # a tensor by its canonical name
  tensors: tuple[formats.Tensor, ...]
  # config.json and generation_config.json of the Hugging Face folder that it
  # is or began as, by name: what of them is not ours to decide.
  published: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def origin(self) -> dict[str, Any]:
    """For the model.json of what is made of it."""
    return {'published': self.published} if self.published else {}

  def leaf(self, path: str, dtype: Any = np.float32) -> np.ndarray:
    """One parameter, all layers, made from one tensor at a time.

    Raises InputError where the type cannot hold its numbers.
    """
    out = np.zeros(formats.shapes(self.size)[path], dtype)
    for tensor in self.tensors:
      if path in tensor.leaves:
        x = tensor.to_ours(self.read(tensor.name), path)
        if x.shape == out.shape and x.dtype == out.dtype:
          return x  # all of it: no copy
        # The embedding may have rows of padding, here or in the file.
        where = slice(len(x)) if tensor.layers is None else tensor.layers
        part = out[where]
        with np.errstate(over='ignore'):
          part[...] = x[: len(part)].reshape(part.shape)
        if out.dtype == np.float16 and not np.isfinite(part).all():
          raise errors.InputError(
            f'{self.path}: {tensor.name} holds numbers beyond the range of '
            'float16; take bfloat16'
          )
    return out

  def leaves(self, dtype: Any = np.float32) -> Iterator[tuple[str, np.ndarray]]:
    """Path and value of all of them, one at a time."""
    for path in formats.shapes(self.size):
      yield path, self.leaf(path, dtype)

  def written_as(
    self, wanted: Iterable[formats.Tensor], dtype: Any
  ) -> Iterator[tuple[str, np.ndarray]]:
    """The same weights as the tensors of another format, one at a time."""
    for leaves, group in itertools.groupby(wanted, lambda t: t.leaves):
      yield from self._written_as(leaves, group, dtype)  # frees its leaves

  def _written_as(self, leaves, group, dtype):
    values = [self.leaf(path, dtype) for path in leaves]
    for tensor in group:
      yield tensor.name, tensor.of(values)

  def load(self, dtype: Any = np.float32, shardings: Any = None) -> dict:
    """The parameters: NumPy arrays on the host or, with a tree of shardings,
    each of them on its devices before the next is read."""
    placed = shardings and formats.flat(shardings)
    found = {}
    for path, x in self.leaves(dtype):
      if placed:
        x = jax.block_until_ready(jax.device_put(x, placed[path]))
      found[path] = x
    return formats.nested(found)


def load_weights(
  path: epath.PathLike, dtype: Any = np.float32, shardings: Any = None
) -> tuple[dict, decoder.Size]:
  """(parameters, size); see Checkpoint.load."""
  checkpoint = find_checkpoint(path)
  return checkpoint.load(dtype, shardings), checkpoint.size


def find_checkpoint(path: epath.PathLike) -> Checkpoint:
  """What a folder holds. Raises InputError where that is no model of ours, or
  where it is two."""
  path = epath.Path(path)
  if not path.is_dir():
    raise errors.InputError(f'{path}: {foreign.no_folder(path)}')
  names = {inner.name for inner in path.iterdir()}
  forms = _forms(path, names)
  if not forms:
    raise errors.InputError(f'{path}: {foreign.why_not(path, names)}')
  if len(forms) > 1:
    raise errors.InputError(
      f'{path}: it holds more than one model, by '
      f'{" and ".join(name for name, *_ in forms)}; leave one of them there'
    )
  _, read, folder = forms[0]
  return read(folder)


def _forms(
  path: epath.Path, names: set[str]
) -> list[tuple[str, Callable[[epath.Path], Checkpoint], epath.Path]]:
  """By which file a folder is a model, what reads it, and where it lies."""
  return [
    (name, read, folder)
    for name, read, folder in (
      (MODEL, _ours, path if {MODEL, 'params'} <= names else None),
      (METADATA, _gemma, path if METADATA in names else None),
      (f'default/{METADATA}', _gemma, _kauldron(path, names)),
      (
        CONFIG,
        _hf,
        path if CONFIG in names and foreign.tensors(names) else None,
      ),
    )
    if folder
  ]


def _kauldron(path: epath.Path, names: set[str]) -> epath.Path | None:
  """Where Kauldron puts the checkpoint in its folder."""
  below = path / 'default'
  there = 'default' in names and (below / METADATA).exists()
  return below if there else None


def weight_files(path: epath.PathLike) -> list[epath.Path]:
  """What is read of a folder of weights or of a tokenizer.

  Both together: as a rule one folder holds both. Where it is neither, all of
  it: whoever reads it says what is wrong.
  """
  outer = epath.Path(path)
  found = [outer / TOKENIZER]
  names = {inner.name for inner in outer.iterdir()}
  for _, read, folder in _forms(outer, names):
    found.append(folder / TOKENIZER)
    if read is _ours:
      found += [folder / MODEL, *checkpoints.tree_files(folder / 'params')]
    elif read is _gemma:
      found += [folder / MODEL, *checkpoints.tree_files(folder)]
    else:
      found += [folder / CONFIG, *tensors.tensor_files(folder)]
  return [p for p in dict.fromkeys(found) if p.exists()] or [outer]


def tokenizer_beside(path: epath.Path) -> epath.Path | None:
  """Beside the weights or, as DeepMind's archives have it, one above: unless
  they have one of their own, of another kind."""
  beside, above = path / TOKENIZER, path.parent / TOKENIZER
  if beside.is_file():
    return beside
  own = (path / 'tokenizer.json').is_file()
  return above if not own and above.is_file() else None


def _ours(path: epath.Path) -> Checkpoint:
  size = _model_json(path)
  tree = checkpoints.CheckpointTree(path / 'params')
  described = records.json_object(path / MODEL)
  if adapters := described.get('adapters'):
    return _adapted(path, size, tree, **adapters)
  found = _checked(path, 'ours', size, formats.ours(size), tree)
  return dataclasses.replace(found, published=described.get('published') or {})


def _adapted(
  path: epath.Path,
  size: decoder.Size,
  tree: checkpoints.CheckpointTree,
  *,
  base: str,
  scale: float,
) -> Checkpoint:
  """Adapters (training/lora.py) and the base beside which they were learnt, at
  `base` as seen from here: read as one, W + A B * scale."""
  below = find_checkpoint(_resolved(path, base))
  if below.size != size:
    raise errors.InputError(
      f'{path}: adapters of a model of another size than {below.path}'
    )
  whole = formats.shapes(size)
  pairs = {name.removesuffix('/a') for name in tree.shapes}
  pairs = {name for name in pairs if name in whole}
  rank = {name: tree.shapes[f'{name}/a'][-1] for name in pairs}
  expected = {
    f'{name}/{part}': shape
    for name in sorted(pairs)
    for part, shape in (
      ('a', (*whole[name][:-1], rank[name])),
      ('b', (*whole[name][:-2], rank[name], whole[name][-1])),
    )
  }
  wrong = shapes.differences(tree.shapes, expected)
  if wrong:
    raise errors.InputError(
      f'{path}: {len(wrong)} adapters do not fit its {MODEL}: '
      f'{shapes.listed(wrong)}'
    )

  def read(name: str) -> np.ndarray:
    weight = below.leaf(name)
    if name not in pairs:
      return weight
    pair = (tree.read(f'{name}/{part}') for part in 'ab')
    return lora.merged(weight, *pair, scale=scale)

  return dataclasses.replace(
    below, path=path, kind='ours', read=read, tensors=tuple(formats.ours(size))
  )


def _resolved(path: epath.Path, relative: str) -> epath.Path:
  """a/b, ../c -> a/c, also where the file system knows no '..'."""
  for part in relative.split('/'):
    path = path.parent if part == '..' else path / part
  return path


def _hf(path: epath.Path) -> Checkpoint:
  config = records.json_object(path / CONFIG)
  try:
    size, rows = (
      hf_config.parse_config(config),
      hf_config.embedding_rows(config),
    )
  except errors.InputError as e:
    raise errors.InputError(f'{path / CONFIG}: {e}') from e
  except (TypeError, ValueError, KeyError, AttributeError) as e:
    raise errors.InputError(
      f'{path / CONFIG}: damaged ({e!r}); {errors.CUT}'
    ) from e
  reader = tensors.TensorReader(path)
  ignored = [formats.HF_IGNORED]
  if size.tied and _own_head(path, reader):
    size = dataclasses.replace(size, tied=False)
  if size.tied:
    ignored.append(re.compile(r'lm_head\.weight$'))  # the embedding once more
  found = _checked(
    path,
    'hf',
    size,
    formats.hf(size, rows),
    reader,
    canonical=formats.hf_canonical,
    ignored=ignored,
  )
  published = {
    note: records.json_object(path / note)
    for note in (CONFIG, GENERATION)
    if (path / note).is_file()
  }
  return dataclasses.replace(found, published=published)


def _own_head(path: epath.Path, reader: tensors.TensorReader) -> bool:
  """Whether weights that config.json ties to the embedding are others after
  all; transformers (5) keeps them apart then."""
  names = {formats.hf_canonical(name): name for name in reader.shapes}
  pair = [names.get(row.name) for row in formats.HF_ENDS]
  if None in pair or reader.equal(*pair):
    return False
  errors.warn_once(
    f'{path}: {CONFIG} ties the embedding and {pair[1]}, which differ: they '
    'are kept apart'
  )
  return True


def _gemma(path: epath.Path) -> Checkpoint:
  tree = checkpoints.CheckpointTree(path)
  found = {formats.canonical(name): s for name, s in tree.shapes.items()}
  try:
    size = formats.gemma_size(found)
  except (KeyError, ValueError) as e:
    raise errors.InputError(
      f'{path}: no Gemma checkpoint, {e} is missing or misshapen; it holds '
      f'{", ".join(sorted(found)[:3])}, ..'
    ) from e
  if (path / MODEL).exists():
    size = _model_json(path)
  if size is None:
    raise errors.InputError(
      f'{path}: its shapes are those of no published Gemma; put a model.json '
      'with {"size": {"layers": .., ..}} beside it, as a model folder has it'
    )
  apart, types = formats.unstack_names(found)
  gate = apart.get('layer_0/mlp/gating_einsum', ())
  transposed = formats.gemma_transposed(size)
  if size.width != size.hidden:
    transposed = gate == (2, size.hidden, size.width)
  rows = found['embedder/input_embedding'][0]
  return _checked(
    path,
    'gemma',
    size,
    formats.gemma(size, rows, transposed=transposed, types=types),
    tree,
    canonical=formats.canonical,
    ignored=[formats.GEMMA_IGNORED],
  )


def _checked(
  path: epath.Path,
  kind: str,
  size: decoder.Size,
  expected: list[formats.Tensor],
  source: checkpoints.CheckpointTree | tensors.TensorReader,
  *,
  canonical: Callable[[str], str] = str,
  ignored: list[re.Pattern] = (),
) -> Checkpoint:
  """Raises InputError that lists what differs from the expected tensors."""
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
  found = {name: source.shapes[names[name]] for name in names}
  wrong = shapes.differences(found, {t.name: t.shape for t in expected})
  if wrong:
    raise errors.InputError(
      f'{path}: {len(wrong)} tensors do not fit {_RULES[kind]}: '
      f'{shapes.listed(wrong)}'
    )
  return Checkpoint(
    path,
    kind,
    size,
    tokenizer_beside(path),
    lambda name: source.read(names[name]),
    tuple(expected),
  )


_RULES = {  # what decides which tensors there must be
  'ours': f'its {MODEL}',
  'hf': f'its {CONFIG}',
  'gemma': 'a Gemma of its size',
}


def _model_json(path: epath.Path) -> decoder.Size:
  found = records.json_object(path / MODEL)
  try:
    return decoder.Size(**found['size'])
  except (KeyError, TypeError) as e:
    raise errors.InputError(
      f'{path / MODEL}: it describes no model ({e!r}); {errors.CUT}'
    ) from e
