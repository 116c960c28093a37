"""A safetensors file that is not on a local disk, read by byte range.

The library maps files into memory, which is impossible for a bucket's. Such a
file is 8 bytes with the length of its header, the header, which is JSON and has
dtype, shape and offsets of each tensor, and the tensors' bytes side by side.
What the library refuses is refused here, too:
https://github.com/huggingface/safetensors.
"""

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from etils import epath

LIMIT = 100_000_000  # bytes of a header; the library refuses more, too
BLOCK = 1 << 24  # bytes that are read at a time
DTYPES = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': ml_dtypes.bfloat16,
  'F8_E4M3': ml_dtypes.float8_e4m3fn,
  'F8_E5M2': ml_dtypes.float8_e5m2,
}
BITS = {  # of all types, for those we do not read are named in an error
  **dict.fromkeys(('F4',), 4),
  **dict.fromkeys(('F6_E2M3', 'F6_E3M2'), 6),
  **dict.fromkeys(('BOOL', 'U8', 'I8'), 8),
  **dict.fromkeys(('F8_E5M2', 'F8_E4M3', 'F8_E8M0'), 8),
  **dict.fromkeys(('F8_E4M3FNUZ', 'F8_E5M2FNUZ'), 8),
  **dict.fromkeys(('U16', 'I16', 'F16', 'BF16'), 16),
  **dict.fromkeys(('U32', 'I32', 'F32'), 32),
  **dict.fromkeys(('U64', 'I64', 'F64', 'C64'), 64),
}


class Slice(NamedTuple):
  """Where a tensor lies and what it is; methods are named as the library's."""

  dtype: str
  shape: tuple[int, ...]
  start: int  # byte of the file
  stop: int

  def get_dtype(self) -> str:
    return self.dtype

  def get_shape(self) -> tuple[int, ...]:
    return self.shape


class File:
  """Stands in for what `safetensors.safe_open` returns.

  The header is read once, when it is made.
  """

  def __init__(self, path: epath.Path):
    """Raises ValueError for a damaged header, or where bytes are missing."""
    self._path = path
    length = path.stat().length
    with path.open('rb') as file:
      size = int.from_bytes(file.read(8), 'little')
      if length < 8 or size > length - 8:
        raise ValueError(f'{length} bytes hold no header')
      if size > LIMIT:
        raise ValueError(f'a header of {size} bytes')
      header = json.loads(file.read(size))
    self._slices = dict(_slices(header, 8 + size))
    _check(self._slices, 8 + size, length)

  def __enter__(self) -> 'File':
    return self

  def __exit__(self, *exception: object) -> None:
    pass  # each read opens the file anew

  def keys(self) -> list[str]:
    return list(self._slices)

  def get_slice(self, name: str) -> Slice:
    return self._slices[name]

  def get_tensor(self, name: str) -> np.ndarray:
    """Reads the bytes of one tensor, a block at a time.

    Raises ValueError where the file ends before the tensor does.
    """
    dtype, shape, start, stop = self._slices[name]
    content = np.empty(stop - start, np.uint8)
    with self._path.open('rb') as file:
      file.seek(start)
      done = 0
      while done < len(content):
        block = file.read(min(BLOCK, len(content) - done))
        if not block:
          raise ValueError(f'{name} ends after {done} of {len(content)} bytes')
        content[done : done + len(block)] = np.frombuffer(block, np.uint8)
        done += len(block)
    return content.view(DTYPES[dtype]).reshape(shape)


def _slices(header: Any, begin: int) -> Iterator[tuple[str, Slice]]:
  """Yields names and slices; tensors' bytes start at `begin`.

  Raises ValueError for a header that does not describe tensors we know.
  """
  if not isinstance(header, dict):
    raise ValueError('its header is no object')
  for name, entry in header.items():
    if name == '__metadata__':
      continue
    try:
      dtype, shape = entry['dtype'], entry['shape']
      start, stop = entry['data_offsets']
    except (TypeError, KeyError, ValueError) as e:
      raise ValueError(f'its header describes no {name}') from e
    # type(), for True is an int to isinstance.
    if not all(type(n) is int and n >= 0 for n in (*shape, start, stop)):
      raise ValueError(f'its header describes no {name}')
    if dtype not in BITS:
      raise ValueError(f'{name} is of the unknown type {dtype}')
    yield name, Slice(dtype, tuple(shape), begin + start, begin + stop)


def _check(slices: dict[str, Slice], begin: int, length: int) -> None:
  """Raises ValueError unless the tensors fill the file from end to end."""
  for name, part in slices.items():
    bits = math.prod(part.shape) * BITS[part.dtype]
    if bits != 8 * (part.stop - part.start):
      raise ValueError(f'{name} has other bytes than its shape needs')
  spans = sorted((part.start, part.stop) for part in slices.values())
  # Each tensor must begin where the one before it ends.
  borders = [begin, *itertools.chain(*spans), length]
  if any(a != b for a, b in zip(borders[::2], borders[1::2], strict=True)):
    raise ValueError(f'its tensors are not the {length} bytes that it has')
