"""Vectors of texts by an encoder, on all devices, each text once."""

import collections
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import jax
import numpy as np
from etils import epath

from restpg_jax import errors, integers, storage
from restpg_jax.engines import program_cache
from restpg_jax.io import encoders, progress, vectors
from restpg_jax.models import bert, precision
from restpg_jax.parallel import layout as layouts
from restpg_jax.rewards import embedding

VERSION = 2  # of the vectors that one encoder gives one text
STEP = 32  # tokens: the closest two lengths that are compiled
# That a device reads at once; a CPU's cache holds what a layer makes of them.
TOKENS, ON_CPU = 8192, 512
KEPT = 16_384  # texts that are put on disk together
TINY = 1e-12  # a vector of zeros stays one, as in torch's normalize


class Embedder:
  """texts -> vectors; those that it has computed stay in a folder."""

  def __init__(
    self,
    checkpoint: epath.PathLike,
    layout: layouts.Layout,
    folder: epath.Path,
  ):
    self._path = checkpoint
    self._encoder = encoders.load_encoder(checkpoint)
    self._layout = layout
    self._folder, self._store = folder, vectors.Vectors(folder)
    self._params = layout.replicate(self._encoder.params)
    self._program = embed_program(self._encoder.size, layout)

  def __call__(self, texts: Sequence[str]) -> np.ndarray:
    """Returns [N, D] float32; a text that is known or equal is read once.

    Raises InputError where a vector is NaN.
    """
    names = [vectors.name(text) for text in texts]
    known = self._store.has(names)
    new = {names[n]: texts[n] for n in np.flatnonzero(~known).tolist()}
    if new:
      self._store_new(new)
    return self._store.get(names)

  def _store_new(self, new: Mapping[bytes, str]) -> None:
    """Embeds texts by name, KEPT at a time, and stores their vectors."""
    size = len(new) * (4 * self._encoder.size.width + vectors.HASH)
    storage.check_room(self._folder, size, f'{len(new):,} vectors')
    with progress.bar(len(new), 'texts', 'embed') as shown:
      items = iter(new.items())
      while piece := list(itertools.islice(items, KEPT)):
        keys, texts = zip(*piece, strict=True)
        piece_ND = np.empty((len(texts), self._encoder.size.width), np.float32)
        for indices, vectors_ND, num_tokens in self._encode(texts):
          piece_ND[indices] = vectors_ND
          shown.update(len(indices), tokens=num_tokens)
        if self._encoder.normalized:
          norm_N1 = np.linalg.norm(piece_ND, axis=1, keepdims=True)
          piece_ND /= np.maximum(norm_N1, TINY)
        self._check(texts, piece_ND)
        self._store.add(keys, piece_ND)

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

  def _encode(
    self, texts: Sequence[str]
  ) -> Iterator[tuple[list[int], np.ndarray, int]]:
    """Yields indices of some texts, their vectors, their number of tokens."""
    waiting = collections.deque()
    for batch in self._start_batches(texts):
      waiting.append(batch)
      if len(waiting) > 1:  # the devices have work while this one is fetched
        yield self._fetch(*waiting.popleft())
    yield from itertools.starmap(self._fetch, waiting)

  def _start_batches(
    self, texts: Sequence[str]
  ) -> Iterator[tuple[list[int], jax.Array, int]]:
    """Yields the same before it is computed: texts of one compiled length that
    fill all devices."""
    limit, devices = self._encoder.limit, self._layout.copies
    ids = self._encoder.tokenizer.encode(texts, limit)
    longest_first = sorted(range(len(ids)), key=lambda n: -len(ids[n]))
    for L, of_length in itertools.groupby(
      longest_first, key=lambda n: compiled_length(len(ids[n]), limit)
    ):
      rows = texts_per_device(self._layout, L)
      while indices := list(itertools.islice(of_length, rows * devices)):
        tokens, lengths = padded_arrays(
          [ids[n] for n in indices], L, rows, devices
        )
        vectors_DND = self._program(self._params, tokens, lengths)
        yield indices, vectors_DND, int(lengths.sum())

  def _fetch(
    self, indices: list[int], vectors_DND: jax.Array, num_tokens: int
  ) -> tuple[list[int], np.ndarray, int]:
    vectors_ND = np.asarray(vectors_DND).reshape(-1, self._encoder.size.width)
    return indices, vectors_ND[: len(indices)], num_tokens


def cosines(
  encode: Embedder, answers: Sequence[str], references: Sequence[str]
) -> list[float]:
  """Returns the cosine of each answer's vector with that of its reference."""
  return embedding.cosines(encode(answers), encode(references))


@program_cache.compiled_once
def embed_program(
  size: bert.EncoderSize, layout: layouts.Layout
) -> jax.stages.Wrapped:
  """Builds encode(params, tokens, lengths) -> vectors, for all devices."""
  model = bert.BertEncoder(size)

  def encode(params: dict[str, Any], *arrays: jax.Array) -> jax.Array:
    # Flax gives a pair only where `apply` has mutable collections.
    return cast(jax.Array, model.apply({'params': params}, *arrays))

  return layout.each_device(precision.exact(encode, np.float32))


def texts_per_device(layout: layouts.Layout, length: int) -> int:
  """Returns the number of texts of a length that a device reads at once."""
  return max(1, (ON_CPU if layout.on_cpu else TOKENS) // length)


def compiled_length(length: int, limit: int) -> int:
  """Returns the compiled length: 40 -> 64, at most the limit."""
  return min(integers.round_up(length, STEP), limit)


def padded_arrays(
  ids: Sequence[Sequence[int]], length: int, rows: int, devices: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns tokens [devices, rows, L] and lengths [devices, rows].

  Both are padded with 0; `ids` has at most `devices * rows` texts.
  """
  tokens = np.zeros((devices * rows, length), np.int32)
  lengths = np.zeros(devices * rows, np.int32)
  for n, text in enumerate(ids):
    tokens[n, : len(text)] = text
    lengths[n] = len(text)
  return tokens.reshape(devices, rows, length), lengths.reshape(devices, rows)
