"""Writes event files for TensorBoard: WORKDIR/tensorboard/RUN/events.out.*.

The one door to tensorboardX. Its SummaryWriter is not used: it hands events to
a thread, and what goes wrong there, as on a full disk, nobody is told.
"""

import contextlib
import functools
import os
import struct
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from etils import epath

from restpg_jax import folders, storage
from restpg_jax.io import parts

# tensorboardX imports them where they are installed, which takes seconds, for
# what is not used here.
UNUSED = frozenset({'torch', 'boto3', 'google.cloud.storage'})


def tensorboard(workdir: epath.Path) -> Callable[[str, int], 'EventFile']:
  """Writes event files, WORKDIR/tensorboard/RUN/events.out.tfevents.*."""
  with _hidden(UNUSED):
    from tensorboardX import record_writer
  if storage.remote(workdir):
    scheme = os.fspath(workdir).partition(':')[0]
    factory = types.SimpleNamespace(open=_BucketFile)
    record_writer.register_writer_factory(scheme, factory)
  return lambda name, step: EventFile(workdir / 'tensorboard' / name, step)


class EventFile:
  """What one sitting adds to a run.

  It makes a file once it sends anything, or at once where earlier sittings made
  one: readers drop what these have of `step` and later steps.
  """

  def __init__(self, folder: epath.Path, step: int):
    self._folder, self._step = folder, step
    if folders.matching(folder, '*'):
      # A kill may have left what no line tells of, and nothing more be sent.
      self._writer.flush()

  def scalars(self, values: Mapping[str, float], step: int) -> None:
    pairs = [{'tag': k, 'simple_value': v} for k, v in values.items()]
    self._add(step, summary={'value': pairs})

  def text(self, name: str, text: str, step: int) -> None:
    from tensorboardX import summary

    # Lone surrogates have no form in UTF-8; Markdown keeps indented text as is.
    plain = text.encode(errors='replace').decode()
    plain = ''.join(f'    {line}' for line in plain.splitlines(keepends=True))
    self._add(step, summary=summary.text(name, plain))

  def image(self, name: str, png: bytes, step: int) -> None:
    width, height = struct.unpack('>II', png[16:24])  # of its header
    image = {'width': width, 'height': height, 'encoded_image_string': png}
    self._add(step, summary={'value': [{'tag': name, 'image': image}]})

  def close(self) -> None:
    if '_writer' in vars(self):
      self._writer.close()

  def _add(self, step: int, **what: Any) -> None:
    self._writer.write_event(_event(step, **what))
    self._writer.flush()

  @functools.cached_property
  def _writer(self) -> Any:
    from tensorboardX import event_file_writer

    self._folder.mkdir(parents=True, exist_ok=True)
    # Names of files have the second at which they begin; within one the number.
    number = len(folders.matching(self._folder, '*'))
    writer = event_file_writer.EventsWriter(
      os.fspath(self._folder / 'events'), f'.{number:05}'
    )
    writer.write_event(_event(self._step, session_log={'status': 'START'}))
    return writer


def _event(step: int, **what: Any) -> Any:
  from tensorboardX.proto import event_pb2

  # protobuf makes the classes when the module is imported.
  return vars(event_pb2)['Event'](wall_time=time.time(), step=step, **what)


class _BucketFile:
  """An event file in a bucket, where none grows: it is written anew."""

  def __init__(self, path: str):
    self._path, self._data = epath.Path(path), bytearray()
    self._time = -parts.SECONDS  # when it was last written
    self._written = 0  # the bytes that are in the bucket

  def write(self, data: bytes) -> None:
    self._data += data

  def flush(self) -> None:
    if time.monotonic() - self._time >= parts.SECONDS:
      self._put()

  def close(self) -> None:
    self._put()

  def _put(self) -> None:
    if self._written < len(self._data):
      self._path.write_bytes(bytes(self._data))
      self._time, self._written = time.monotonic(), len(self._data)


@contextlib.contextmanager
def _hidden(names: frozenset[str]) -> Iterator[None]:
  """Makes imports of these fail in the block, unless they are there already."""
  new: dict[str, Any] = dict.fromkeys(names - sys.modules.keys())
  sys.modules.update(new)
  try:
    yield
  finally:
    for name in new:
      del sys.modules[name]
