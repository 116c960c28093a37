"""Draws samples: hands requests to slots on the devices, harvests what ends."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from restpg_jax.sampling import slots


@dataclasses.dataclass(frozen=True)
class DecodeRequest:
  """A prompt and the keys of the samples wanted of it."""

  prompt: Sequence[int]
  keys: Sequence[np.ndarray]
  # Tokens of each sample; none: the shape's. Benchmarks force lengths so.
  limits: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class DecodedSample:
  """One sample: its tokens, without the stop token."""

  request: int  # its place in the order of the requests
  sample: int  # the place of its key in the request
  tokens: list[int]
  ended: bool  # False: the limit came first
  logp: float  # of the tokens, and of the stop token if it ended


class DecodeOutput(NamedTuple):
  """Samples that have ended since the last one, in no order that matters."""

  drawn: list[DecodedSample]
  busy: int  # steps of slots that made a token
  slots: int  # steps of all slots


def decode(
  programs: slots.Programs,
  params,
  requests: Iterable[DecodeRequest],
  shape: slots.DecodeShape,
  devices: int,
) -> Iterator[DecodeOutput]:
  """All samples of all requests, as they end.

  The programs take arrays with a leading axis of `devices`
  (layout.each_device). Requests are read a little before a group is free for
  them; what ended in one chunk is handed out while the devices compute the
  next.
  """
  board = SlotTable(shape, devices)
  waiting, ready = enumerate(requests), []
  state, harvest = None, None
  while True:
    free = board.free()
    ready += itertools.islice(waiting, max(0, len(free) - len(ready)))
    new, ready = ready[: len(free)], ready[len(free) :]
    if new and state is None:
      state = programs.empty(params)
    for work in prefill_calls(free, new, shape, devices):
      state, started = programs.start(
        params, state, *prefill_arrays(work, shape)
      )
      board.began(work, started)
    if not board.busy():
      break
    state, chunk = programs.advance(params, state)
    # While the devices compute: what comes next, and what has come.
    ready += itertools.islice(waiting, shape.groups - len(ready))
    if harvest:
      yield harvest
    harvest = board.collect(jax.device_get(chunk))
  if harvest:
    yield harvest


class SlotGroup(NamedTuple):
  """A group of slots."""

  device: int
  group: int


# One call of `start`: for each device a group and its new request, or None.
PrefillCall = list[tuple[SlotGroup, int, DecodeRequest] | None]


def prefill_calls(
  free: Sequence[SlotGroup],
  new: Sequence[tuple[int, DecodeRequest]],
  shape: slots.DecodeShape,
  devices: int,
) -> Iterator[PrefillCall]:
  """New requests on free groups, in calls of one compiled shape each.

  The shape depends on the prompt alone, never on what else is waiting: the
  same prompt is always read by the same program.
  """
  queues = collections.defaultdict(lambda: [[] for _ in range(devices)])
  for spot, (number, request) in zip(free, new, strict=False):
    of_length = queues[bucket(len(request.prompt), shape.prompt_length)]
    of_length[spot.device].append((spot, number, request))
  for queue in queues.values():
    yield from map(list, itertools.zip_longest(*queue))


def bucket(length: int, most: int) -> int:
  """The compiled length for a prompt: some quarters of the longest.

  most 5120: 100 -> 1280, 1281 -> 2560, 5000 -> 5120
  """
  if length > most:
    raise ValueError(f'a prompt of {length} tokens, but the longest is {most}')
  quarter = -(-most // 4)
  return min(max(1, -(-length // quarter)) * quarter, most)


def prefill_arrays(work: PrefillCall, shape: slots.DecodeShape):
  """The arguments of `start` behind the state, each with a leading axis."""
  lengths = [len(item[2].prompt) for item in work if item]
  D, M = len(work), shape.samples
  S = bucket(lengths[0], shape.prompt_length)
  group_D = np.full(D, shape.groups, np.int32)  # does nothing
  tokens_DS = np.zeros((D, S), np.int32)
  length_D = np.zeros(D, np.int32)
  keys_DM2 = np.zeros((D, M, 2), np.uint32)
  limit_DM = np.full((D, M), shape.output_length, np.int32)
  count_D = np.zeros(D, np.int32)
  for d, item in enumerate(work):
    if item:
      spot, _, request = item
      group_D[d] = spot.group
      length_D[d] = len(request.prompt)
      tokens_DS[d, : length_D[d]] = request.prompt
      count_D[d] = len(request.keys)
      keys_DM2[d, : count_D[d]] = request.keys
      limit_DM[d, : len(request.limits)] = request.limits
  return group_D, tokens_DS, length_D, keys_DM2, limit_DM, count_D


class SlotTable:
  """Which request each group works on, and what its samples have so far."""

  def __init__(self, shape: slots.DecodeShape, devices: int):
    self._shape = shape
    self._groups = {
      SlotGroup(d, a): None for a in range(shape.groups) for d in range(devices)
    }
    self._started = []  # (work, what start found): read with the next chunk

  def free(self) -> list[SlotGroup]:
    return [spot for spot, group in self._groups.items() if group is None]

  def busy(self) -> bool:
    return any(group is not None for group in self._groups.values())

  def began(self, work: PrefillCall, started: slots.PrefillOutput) -> None:
    self._started.append((work, started))
    for item in filter(None, work):
      spot, number, request = item
      self._groups[spot] = ActiveRequest(number, len(request.keys))

  def collect(self, chunk: slots.ChunkOutput) -> DecodeOutput:
    """Takes in what a chunk brought, [D, A, ..] each."""
    drawn = []
    for work, started in self._started:
      empty_DM, logp_DM = jax.device_get(started)
      for item in filter(None, work):
        d, group = item[0].device, self._groups[item[0]]
        drawn += group.empty(np.flatnonzero(empty_DM[d]), logp_DM[d])
    self._started = []
    worked = np.argwhere(chunk.count_AG)
    for d, a, g in worked:
      place = d, a, g
      drawn += self._groups[SlotGroup(d, a)].grown(
        int(chunk.sample_AG[place]),
        chunk.tokens_AGC[place][: chunk.count_AG[place]].tolist(),
        over=bool(chunk.over_AG[place]),
        ended=bool(chunk.stopped_AG[place]),
        logp=float(chunk.logp_AG[place]),
      )
    for spot, group in self._groups.items():
      if group is not None and not group.left:
        self._groups[spot] = None
    steps = chunk.count_AG.max(initial=0, axis=(1, 2))
    of_device = self._shape.groups * self._shape.slots
    return DecodeOutput(
      drawn, int(chunk.count_AG.sum()), int(steps.sum()) * of_device
    )


class ActiveRequest:
  """A request in work."""

  def __init__(self, number: int, samples: int):
    self._number = number
    self._tokens = collections.defaultdict(list)
    self.left = samples

  def empty(self, samples, logp_M) -> Iterator[DecodedSample]:
    """Samples whose first token was a stop token."""
    for n in samples.tolist():
      self.left -= 1
      yield DecodedSample(self._number, n, [], True, float(logp_M[n]))

  def grown(
    self, sample, tokens, *, over, ended, logp
  ) -> Iterator[DecodedSample]:
    """A sample has these tokens more; it is handed out if it is over."""
    self._tokens[sample] += tokens
    if over:
      self.left -= 1
      tokens = self._tokens.pop(sample)
      yield DecodedSample(self._number, sample, tokens, ended, logp)
