"""Vectors of texts by an encoder, on all devices, each text once."""

import collections
import functools
import itertools
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from etils import epath

from restpg_jax import errors
from restpg_jax.io import encoders, progress, vectors
from restpg_jax.models import bert, precision

VERSION = 2  # of the vectors that one encoder gives one text
STEP = 32  # tokens: the closest two lengths that are compiled
# That a device reads at once; a CPU's cache holds what a layer makes of them.
TOKENS, ON_CPU = 8192, 512
KEPT = 16_384  # texts that are put on disk together
TINY = 1e-12  # a vector of zeros stays one, as in torch's normalize


class Embedder:
  """texts -> vectors; what it has made stands in a folder."""

  def __init__(self, checkpoint: epath.PathLike, layout, folder: epath.Path):
    self._path = checkpoint
    self._encoder = encoders.load_encoder(checkpoint)
    self._layout = layout
    self._store = vectors.Vectors(folder)
    self._params = layout.replicate(self._encoder.params)
    self._program = embed_program(self._encoder.size, layout)

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """[N, D] float32; of equal texts, and of known ones, only once made."""
    names = [vectors.name(text) for text in texts]
    known = self._store.has(names)
    new = {names[n]: texts[n] for n in np.flatnonzero(~known)}
    if new:
      self._make(new)
    return self._store.get(names)

  def _make(self, new: dict[bytes, str]) -> None:
    with progress.bar(len(new), 'texts', 'embed') as shown:
      items = iter(new.items())
      while piece := list(itertools.islice(items, KEPT)):
        keys, texts = zip(*piece, strict=True)
        found = np.empty((len(texts), self._encoder.size.width), np.float32)
        for places, vectors_ND, tokens in self._encoded(texts):
          found[places] = vectors_ND
          shown.update(len(places), tokens=tokens)
        if self._encoder.normalized:
          norm_N1 = np.linalg.norm(found, axis=1, keepdims=True)
          found /= np.maximum(norm_N1, TINY)
        self._check(texts, found)
        self._store.add(keys, found)

  def _check(self, texts: Sequence[str], vectors_ND: np.ndarray) -> None:
    """Raises InputError before a vector of NaN is stored and ranked by."""
    whole_N = np.isfinite(vectors_ND).all(axis=1)
    if not whole_N.all():
      text = texts[int(np.argmin(whole_N))]
      raise errors.InputError(
        f'{self._path}: {np.sum(~whole_N)} of {len(texts)} vectors hold NaN, '
        f'the first that of {text[:40]!r}; its weights hold NaN or numbers '
        'too large: take others. What is on disk is whole'
      )

  def _encoded(
    self, texts: Sequence[str]
  ) -> Iterator[tuple[list[int], np.ndarray, int]]:
    """Places of some texts, their vectors, and how many tokens they had."""
    waiting = collections.deque()
    for batch in self._batches(texts):
      waiting.append(batch)
      if len(waiting) > 1:  # the devices have work while this one is fetched
        yield self._fetched(*waiting.popleft())
    yield from itertools.starmap(self._fetched, waiting)

  def _batches(
    self, texts: Sequence[str]
  ) -> Iterator[tuple[list[int], jax.Array, int]]:
    """The same, begun: texts of one length that fill all devices."""
    limit, devices = self._encoder.limit, self._layout.copies
    ids = self._encoder.tokenizer.encode(texts, limit)
    longest_first = sorted(range(len(ids)), key=lambda n: -len(ids[n]))
    for L, of_length in itertools.groupby(
      longest_first, key=lambda n: compiled_length(len(ids[n]), limit)
    ):
      rows = texts_per_device(self._layout, L)
      while places := list(itertools.islice(of_length, rows * devices)):
        tokens, length = padded_arrays(
          [ids[n] for n in places], L, rows, devices
        )
        made = self._program(self._params, tokens, length)
        yield places, made, int(length.sum())

  def _fetched(
    self, places: list[int], made: jax.Array, tokens: int
  ) -> tuple[list[int], np.ndarray, int]:
    vectors_ND = np.asarray(made).reshape(-1, self._encoder.size.width)
    return places, vectors_ND[: len(places)], tokens


@functools.cache
def embed_program(size: bert.EncoderSize, layout):
  """Compiled once in a process, whoever asks for it."""
  model = bert.BertEncoder(size)

  def encode(params, *arrays):
    return model.apply({'params': params}, *arrays)

  return layout.each_device(precision.exact(encode, np.float32))


def texts_per_device(layout, length: int) -> int:
  """Texts of this length that a device reads at once."""
  return max(1, (ON_CPU if layout.on_cpu else TOKENS) // length)


def compiled_length(length: int, limit: int) -> int:
  """The compiled length: 40 -> 64, at most the limit."""
  return min(-(-length // STEP) * STEP, limit)


def padded_arrays(
  ids: Sequence[Sequence[int]], length: int, rows: int, devices: int
) -> tuple[np.ndarray, np.ndarray]:
  """tokens [devices, rows, L] and their lengths; padded with 0."""
  tokens = np.zeros((devices * rows, length), np.int32)
  lengths = np.zeros(devices * rows, np.int32)
  for n, one in enumerate(ids):
    tokens[n, : len(one)] = one
    lengths[n] = len(one)
  return tokens.reshape(devices, rows, length), lengths.reshape(devices, rows)
