"""Says how many samples or judged texts fit on a device side by side."""

import dataclasses

from restpg_jax import errors, integers
from restpg_jax.sampling import candidates, labels, model, slots


class TooLittle(errors.InputError):
  """Memory is too small for even one group, or one text."""


GROUP = 32  # slots of a group, at most


@dataclasses.dataclass(frozen=True)
class Bytes:
  """What sampling keeps on a device.

  weights   parameters
  reading   one prompt being read: the scores of an eighth of its queries and
            their softmax in one layer (float32; see models/attention.py), and
            its keys and values before they are in the cache
  token     keys and values of a token in all layers
  choosing  logits of a sample and their probabilities (float32)

  total = weights + reading + M choosing
          + A S token + A G ((O + C) token + choosing)
  """

  weights: int
  reading: int
  token: int
  choosing: int

  @classmethod
  def of(
    cls, size: model.Size, *, weights: int, itemsize: int, prompt: int
  ) -> 'Bytes':
    """Returns them for prompts of so many tokens.

    `weights` are bytes, `itemsize` is that of keys and values.
    """
    token = size.cached() * itemsize
    # As blockwise_causal_attention cuts a prompt in models/attention.py.
    queries = min(prompt, max(128, integers.cdiv(prompt, 8)))
    return cls(
      weights=weights,
      reading=2 * 4 * size.heads * prompt * queries + prompt * token,
      token=token,
      choosing=2 * 4 * size.vocabulary,
    )

  def group(self, shape: slots.DecodeShape) -> int:
    """Returns the bytes of a group: its prompt, and its slots."""
    slot = (shape.suffix + shape.steps) * self.token + self.choosing
    return shape.prompt_length * self.token + shape.slots * slot

  def once(self, shape: slots.DecodeShape) -> int:
    """Returns the bytes that do not depend on the number of groups.

    The first tokens of a request are chosen all together.
    """
    return self.weights + self.reading + shape.samples * self.choosing

  def total(self, shape: slots.DecodeShape) -> int:
    return self.once(shape) + shape.groups * self.group(shape)


def group_of(m: int) -> int:
  """Returns the slots of a group: a quarter of its samples.

  More slots would share a prompt, but wait longer for the last sample.
  """
  return max(1, min(m // 4, GROUP))


def fit(
  shape: slots.DecodeShape, need: Bytes, *, memory: int, max_slots: int
) -> slots.DecodeShape:
  """Returns the shape with all groups that fit `memory` bytes and `max_slots`.

  Raises TooLittle where not even one group fits.
  """
  left = memory - need.once(shape)
  groups = min(left // need.group(shape), max_slots // shape.slots)
  one = dataclasses.replace(shape, groups=1)
  if left < need.group(shape):
    raise TooLittle(
      f'sampling needs {need.total(one) / 2**30:.2f} GiB on a device for one '
      f'prompt of {shape.prompt_length} tokens and {shape.slots} samples of '
      f'{shape.output_length}; there are {memory / 2**30:.2f} GiB. Lower '
      'compute.samples, prompt.max_input or prompt.max_output, or raise '
      'compute.shards or compute.memory'
    )
  return dataclasses.replace(shape, groups=max(1, groups))


@dataclasses.dataclass(frozen=True)
class Judging:
  """What judging keeps on a device, for prefixes of S and rests of R tokens.

  weights  parameters
  token    keys and values of a token in all layers: those of P prefixes stay
  layer    the same in one layer, the one that has the most
  score    bytes of one query and one key in all heads, with the softmax
           (float32)
  logits   behind a token (float32), and once more while they are summed
  num_logits  tokens of a rest with logits behind them

  total = weights + P S token
          + the larger of  S S score  (a prefix is read)
          and              c ((S + R) (layer + R score) + num_logits logits)
  where c rests go through the model at a time
  """

  weights: int
  token: int
  layer: int
  score: int
  logits: int
  num_logits: int

  @classmethod
  def of(
    cls, size: model.Size, *, weights: int, itemsize: int, num_logits: int
  ) -> 'Judging':
    """Returns them; `weights` are bytes, `itemsize` that of keys and values."""
    return cls(
      weights=weights,
      token=size.cached() * itemsize,
      layer=size.largest_cached() * itemsize,
      score=2 * 4 * size.heads,
      logits=2 * 4 * size.vocabulary,
      num_logits=num_logits,
    )

  def total(self, room: candidates.Room, lengths: tuple[int, int]) -> int:
    S, R = lengths
    c = labels.side_by_side(R, room.candidates)
    rests = (S + R) * (self.layer + R * self.score)
    rests += self.num_logits * self.logits
    kept = room.prefixes * S * self.token
    return self.weights + kept + max(S * S * self.score, c * rests)

  def room(
    self, lengths: tuple[int, int], *, memory: int, max_candidates: int
  ) -> candidates.Room:
    """Returns the room for candidates that `memory` allows.

    Prefixes are halved first, since most candidates share theirs with others,
    then candidates. It depends on the lengths alone, so that no score depends
    on its company. Raises TooLittle where not even one candidate fits.
    """
    room = candidates.Room.of(max_candidates)
    while self.total(room, lengths) > memory:
      if room.prefixes > 1:
        room = candidates.Room(room.prefixes // 2, room.candidates)
      elif room.candidates > 1:
        room = candidates.Room(1, room.candidates // 2)
      else:
        raise TooLittle(
          f'judging needs {self.total(room, lengths) / 2**30:.2f} GiB on a '
          f'device for one text of {sum(lengths)} tokens; there are '
          f'{memory / 2**30:.2f} GiB. Lower reward.max_input, or raise '
          'compute.shards (evaluate.shards for the test set) or compute.memory'
        )
    return room
