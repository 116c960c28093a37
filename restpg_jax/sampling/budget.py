"""How many samples or judged texts have room on a device, side by side."""

import dataclasses

from restpg_jax import errors
from restpg_jax.sampling import candidates, labels, slots


class TooLittle(errors.InputError):
  """Not even one group, or one text, has room."""


GROUP = 32  # slots of a group, at most


@dataclasses.dataclass(frozen=True)
class Bytes:
  """What sampling keeps on a device.

  weights   parameters
  reading   one prompt being read: the scores of an eighth of its queries and
            their softmax in one layer (float32; see models/attention.py), and
            its keys and values before they have a place
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
  def of(cls, size, *, weights: int, itemsize: int, prompt: int) -> 'Bytes':
    """`size` is a models.decoder.Size; `itemsize` that of keys and values."""
    token = 2 * size.layers * size.kv_heads * size.head_size * itemsize
    queries = min(prompt, max(128, -(-prompt // 8)))
    return cls(
      weights=weights,
      reading=2 * 4 * size.heads * prompt * queries + prompt * token,
      token=token,
      choosing=2 * 4 * size.vocabulary,
    )

  def group(self, shape: slots.DecodeShape) -> int:
    """Of a group: its prompt, and its slots."""
    slot = (shape.suffix + shape.steps) * self.token + self.choosing
    return shape.prompt_length * self.token + shape.slots * slot

  def once(self, shape: slots.DecodeShape) -> int:
    """Whatever the number of groups: first tokens are chosen all together."""
    return self.weights + self.reading + shape.samples * self.choosing

  def total(self, shape: slots.DecodeShape) -> int:
    return self.once(shape) + shape.groups * self.group(shape)


def group_of(m: int) -> int:
  """Slots of a group: a quarter of its samples.

  More would share a prompt among more, but wait longer for the last sample.
  """
  return max(1, min(m // 4, GROUP))


def fit(
  shape: slots.DecodeShape, need: Bytes, *, memory: int, most: int
) -> slots.DecodeShape:
  """The shape with as many groups as fit `memory` bytes and `most` slots.

  Raises TooLittle where not even one group does.
  """
  left = memory - need.once(shape)
  groups = min(left // need.group(shape), most // shape.slots)
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
  layer    keys and values of a token in one layer; all `layers` of P prefixes
           stay
  score    of one query and one key in all heads, and its softmax (float32)
  logits   behind a token (float32), and once more while they are summed

  total = weights + P S layers layer
          + the larger of  S S score  (a prefix is read)
          and              c ((S + R) (layer + R score) + places logits)
  where c rests go through the model at a time, with logits at so many places
  """

  weights: int
  layers: int
  layer: int
  score: int
  logits: int
  places: int

  @classmethod
  def of(cls, size, *, weights: int, itemsize: int, places: int) -> 'Judging':
    """`size` is a models.decoder.Size; `itemsize` that of keys and values."""
    return cls(
      weights=weights,
      layers=size.layers,
      layer=2 * size.kv_heads * size.head_size * itemsize,
      score=2 * 4 * size.heads,
      logits=2 * 4 * size.vocabulary,
      places=places,
    )

  def total(self, room: candidates.Room, lengths: tuple[int, int]) -> int:
    S, R = lengths
    c = labels.side_by_side(R, room.candidates)
    rests = (S + R) * (self.layer + R * self.score) + self.places * self.logits
    kept = room.prefixes * S * self.layers * self.layer
    return self.weights + kept + max(S * S * self.score, c * rests)

  def room(
    self, lengths: tuple[int, int], *, memory: int, most: int
  ) -> candidates.Room:
    """For `most` candidates, behind as many prefixes as `memory` allows.

    Halved are first the prefixes, as most candidates share theirs with others,
    then the candidates. A function of the lengths alone: so no score depends
    on its company. Raises TooLittle where not even one candidate has room.
    """
    room = candidates.Room.of(most)
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
