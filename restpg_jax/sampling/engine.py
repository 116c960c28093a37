"""Draws samples: gives requests to slots on the devices, collects what ends."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from restpg_jax import integers
from restpg_jax.sampling import slots


@dataclasses.dataclass(frozen=True)
class DecodeRequest:
  """A prompt and the keys of the samples to draw from it."""

  prompt: Sequence[int]
  keys: Sequence[np.ndarray]
  # Tokens of each sample; none: the shape's. Benchmarks force lengths so.
  limits: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class DecodedSample:
  """One sample: its tokens, without the stop token."""

  request: int  # its index in the order of the requests
  sample: int  # the index of its key in the request
  tokens: list[int]
  ended: bool  # False: the limit came first
  logp: float  # of the tokens, and of the stop token if it ended


class DecodeOutput(NamedTuple):
  """Samples that have ended since the last one, in no order that matters."""

  samples: list[DecodedSample]
  busy: int  # steps of slots that made a token
  slots: int  # steps of all slots


def decode(
  programs: slots.Programs,
  params: slots.Params,
  requests: Iterable[DecodeRequest],
  shape: slots.DecodeShape,
  devices: int,
) -> Iterator[DecodeOutput]:
  """Yields all samples of all requests, as they end.

  The programs take arrays with a leading axis of `devices`
  (layout.each_device). Requests are read a little before a group is free for
  them; what ended in one chunk is handed out while the devices compute the
  next.
  """
  table = SlotTable(shape, devices)
  waiting, ready = enumerate(requests), []
  state, output = None, None
  while True:
    free = table.free()
    ready += itertools.islice(waiting, max(0, len(free) - len(ready)))
    new, ready = ready[: len(free)], ready[len(free) :]
    if new and state is None:
      state = programs.empty_state(params)
    for call in prefill_calls(free, new, shape, devices):
      state, prefilled = programs.prefill(
        params, state, *prefill_arrays(call, shape)
      )
      table.begin(call, prefilled)
    if not table.busy():
      break
    state, chunk = programs.decode_chunk(params, state)
    # While the devices compute: what comes next, and what has come.
    ready += itertools.islice(waiting, shape.groups - len(ready))
    if output:
      yield output
    output = table.collect(jax.device_get(chunk))
  if output:
    yield output


class SlotGroup(NamedTuple):
  """Where a group of slots is."""

  device: int
  group: int


# One call of `prefill`: for each device a group and its new request, or None.
PrefillCall = list[tuple[SlotGroup, int, DecodeRequest] | None]


def prefill_calls(
  free: Sequence[SlotGroup],
  new: Sequence[tuple[int, DecodeRequest]],
  shape: slots.DecodeShape,
  devices: int,
) -> Iterator[PrefillCall]:
  """Yields calls that put new requests on free groups, each of one shape.

  The shape depends on the prompt alone, never on what else is waiting: the
  same prompt is always read by the same program.
  """
  queues = collections.defaultdict(lambda: [[] for _ in range(devices)])
  for group, (number, request) in zip(free, new, strict=False):
    by_device = queues[bucket(len(request.prompt), shape.prompt_length)]
    by_device[group.device].append((group, number, request))
  for queue in queues.values():
    yield from map(list, itertools.zip_longest(*queue))


def bucket(length: int, max_length: int) -> int:
  """Returns the compiled length for a prompt: some quarters of the longest.

  max_length 5120: 100 -> 1280, 1281 -> 2560, 5000 -> 5120
  """
  if length > max_length:
    raise ValueError(
      f'a prompt of {length} tokens, but the longest is {max_length}'
    )
  quarter = integers.cdiv(max_length, 4)
  return min(integers.round_up(max(length, 1), quarter), max_length)


def prefill_arrays(
  call: PrefillCall, shape: slots.DecodeShape
) -> tuple[np.ndarray, ...]:
  """Returns the arguments of `prefill` behind the state, for all devices.

  They are those of DecodeProgram.prefill, each with a leading axis.
  """
  lengths = [len(item[2].prompt) for item in call if item]
  D, M = len(call), shape.samples
  S = bucket(lengths[0], shape.prompt_length)
  # There is no group of this number: such a device starts nothing.
  group_D = np.full(D, shape.groups, np.int32)
  tokens_DS = np.zeros((D, S), np.int32)
  length_D = np.zeros(D, np.int32)
  keys_DM2 = np.zeros((D, M, 2), np.uint32)
  limit_DM = np.full((D, M), shape.output_length, np.int32)
  count_D = np.zeros(D, np.int32)
  for d, item in enumerate(call):
    if item:
      group, _, request = item
      group_D[d] = group.group
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
    # In this order: the free groups alternate between the devices.
    self._groups = [
      SlotGroup(d, a) for a in range(shape.groups) for d in range(devices)
    ]
    self._active: dict[SlotGroup, ActiveRequest] = {}
    # What prefill gave is read with the next chunk, not waited for.
    self._prefilled: list[tuple[PrefillCall, slots.PrefillOutput]] = []

  def free(self) -> list[SlotGroup]:
    return [group for group in self._groups if group not in self._active]

  def busy(self) -> bool:
    return bool(self._active)

  def begin(self, call: PrefillCall, output: slots.PrefillOutput) -> None:
    """Notes the requests of a call as those of their groups."""
    self._prefilled.append((call, output))
    for group, number, request in filter(None, call):
      self._active[group] = ActiveRequest(number, len(request.keys))

  def collect(self, chunk: slots.ChunkOutput) -> DecodeOutput:
    """Takes in a chunk, [D, A, ..] on the host; frees finished groups."""
    samples: list[DecodedSample] = []
    for call, output in self._prefilled:
      empty_DM, logp_DM = jax.device_get(output)
      for group, _, _ in filter(None, call):
        empty = np.flatnonzero(empty_DM[group.device])
        request = self._active[group]
        samples += request.end_empty(empty, logp_DM[group.device])
    self._prefilled = []
    for slot in map(tuple, np.argwhere(chunk.count_AG)):
      device, group, _ = slot
      samples += self._active[SlotGroup(device, group)].extend(
        int(chunk.sample_AG[slot]),
        chunk.tokens_AGC[slot][: chunk.count_AG[slot]].tolist(),
        over=bool(chunk.over_AG[slot]),
        ended=bool(chunk.stopped_AG[slot]),
        logp=float(chunk.logp_AG[slot]),
      )
    self._active = {
      group: request for group, request in self._active.items() if request.left
    }
    # A device makes as many steps as its busiest slot.
    steps = np.max(chunk.count_AG, initial=0, axis=(1, 2))
    slots_of_device = self._shape.groups * self._shape.slots
    return DecodeOutput(
      samples,
      int(np.sum(chunk.count_AG)),
      int(np.sum(steps)) * slots_of_device,
    )


class ActiveRequest:
  """A request that a group works on."""

  def __init__(self, number: int, samples: int):
    self._number = number
    self._tokens: dict[int, list[int]] = collections.defaultdict(list)
    self.left = samples

  def end_empty(
    self, samples: np.ndarray, logp_M: np.ndarray
  ) -> Iterator[DecodedSample]:
    """Hands out samples whose first token was a stop token."""
    for n in samples.tolist():
      self.left -= 1
      yield DecodedSample(self._number, n, [], True, float(logp_M[n]))

  def extend(
    self,
    sample: int,
    tokens: list[int],
    *,
    over: bool,
    ended: bool,
    logp: float,
  ) -> Iterator[DecodedSample]:
    """Gives a sample more tokens; hands it out if it is over."""
    self._tokens[sample] += tokens
    if over:
      self.left -= 1
      tokens = self._tokens.pop(sample)
      yield DecodedSample(self._number, sample, tokens, ended, logp)
