"""A model that is ready to write or to judge: weights, sizes, tokenizer."""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

import jax
import numpy as np
from etils import epath

from restpg_jax import assets, config, errors
from restpg_jax.io import weights
from restpg_jax.models import decoder
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import candidates, engine, keys
from restpg_jax.sampling import labels as label_scores
from restpg_jax.text import templates
from restpg_jax.text import tokenizer as tokenizers

AHEAD = 16  # batches of candidates that are read before they are sorted


@dataclasses.dataclass(frozen=True)
class Language:
  """One model, with its weights on every device."""

  model: decoder.Decoder
  params: dict
  tokenizer: tokenizers.Tokenizer
  layout: layouts.Layout


@dataclasses.dataclass(frozen=True)
class Wanted:
  """Samples j of an example that have yet to be drawn."""

  example_id: str
  prompt: Sequence[int]
  js: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Sampled:
  """One of them, drawn."""

  example_id: str
  j: int
  text: str
  ended: bool
  tokens: int  # the stop token included


def load(checkpoint: epath.PathLike, tokenizer: str, layout) -> Language:
  """From a folder of weights; `tokenizer` is a path or a bundled name."""
  found, words = find(checkpoint, tokenizer)
  params = layout.on_each(found.load())
  return Language(of_size(found.size, layout), params, words, layout)


def load_named(model: config.Model, layout) -> Language:
  return load(assets.path(model.checkpoint), model.tokenizer, layout)


def find(
  checkpoint: epath.PathLike, tokenizer: str
) -> tuple[weights.Checkpoint, tokenizers.Tokenizer]:
  """Weights to load, and their tokenizer; InputError where they do not fit."""
  found = weights.find(checkpoint)
  words = load_tokenizer(tokenizer, found.size)
  if found.tokenizer:
    own = load_tokenizer(found.tokenizer, found.size)
    if own.vocab_size != words.vocab_size:
      raise errors.InputError(
        f'{tokenizer} has {words.vocab_size} pieces, but the tokenizer that '
        f'came with the weights has {own.vocab_size}; give {found.tokenizer} '
        'as their tokenizer'
      )
  return found, words


def tokenizer_file(name: epath.PathLike) -> epath.Path:
  """A file, a bundled name, or the tokenizer.model of a folder."""
  path = assets.path(name)
  if not path.is_dir():
    return path
  if not (path / weights.TOKENIZER).is_file():
    raise errors.InputError(
      f'{path}: it has no {weights.TOKENIZER}; give a SentencePiece file'
    )
  return path / weights.TOKENIZER


def load_tokenizer(
  name: epath.PathLike, size: decoder.Size
) -> tokenizers.Tokenizer:
  """Raises InputError where its ids go beyond the model's embedding."""
  path = tokenizer_file(name)
  try:
    words = tokenizers.Tokenizer(path.read_bytes())
  except (RuntimeError, ValueError) as e:
    raise errors.InputError(
      f'{path}: no usable SentencePiece model: {e}'
    ) from e
  if words.vocab_size > size.vocabulary:
    raise errors.InputError(
      f'{path} has {words.vocab_size} pieces but the model embeds only '
      f'{size.vocabulary}; they do not belong together'
    )
  return words


def load_template(name: str) -> templates.Template:
  path = assets.path(name)
  try:
    return templates.Template(path.read_text(), str(path))
  except UnicodeDecodeError as e:
    raise errors.InputError(f'{path}: not UTF-8: {e}') from e


def of_size(size: decoder.Size, layout, dtype=np.float32) -> decoder.Decoder:
  """The decoder as this layout compiles it."""
  unroll = size.layers if layout.unroll else 1
  return decoder.Decoder(size, dtype=dtype, unroll=unroll)


def sample(
  language: Language,
  wanted: Sequence[Wanted],
  *,
  prompt_length: int,
  m: int,
  max_output: int,
  stop: int,
  temperature: float,
  top_p: float,
  seed: int,
  purpose: str,
  iteration: int = 0,
) -> Iterator[list[Sampled]]:
  """Draws all that is wanted, a batch at a time, in order.

  `prompt_length` and `m` belong to the whole stage, not to what is left of
  it: they fix the compiled shape, and with it every bit of the result.
  """
  layout = language.layout
  G = min(m, layout.compute.samples)
  slots = layout.compute.prompts * layout.compute.samples
  shape = engine.Shape(max(1, slots // G), G, _up(prompt_length), max_output)
  groups = [
    (w, w.js[n : n + G]) for w in wanted for n in range(0, len(w.js), G)
  ]

  def key(example_id, j):
    return keys.row_key(
      seed=seed,
      purpose=purpose,
      iteration=iteration,
      example_id=example_id,
      j=j,
    )

  requests = [
    engine.Request(w.prompt, [key(w.example_id, j) for j in js])
    for w, js in groups
  ]
  draw = draw_program(
    language.model,
    layout,
    shape,
    stop=stop,
    temperature=temperature,
    top_p=top_p,
    words=language.tokenizer.vocab_size,
  )
  left = iter(groups)
  for batch in engine.run(
    draw, language.params, requests, shape, layout.devices
  ):
    yield [
      Sampled(
        w.example_id,
        j,
        language.tokenizer.decode(drawn.tokens),
        drawn.ended,
        len(drawn.tokens) + drawn.ended,
      )
      for row in batch
      for w, js in [next(left)]
      for j, drawn in zip(js, row, strict=True)
    ]


def label_logp(
  language: Language,
  judged: Iterable[candidates.Candidate],
  labels: Sequence[str],
) -> Iterator[list[tuple[int, np.ndarray]]]:
  """Log-probabilities [labels] of each candidate, with its place in `judged`.

  They come as they are known, which is not in order. `judged` is read a piece
  at a time: candidates with one prefix should follow each other.
  """
  layout, tokenizer = language.layout, language.tokenizer
  sequences = tuple(tuple(tokenizer.encode(label)) for label in labels)
  score = label_program(language.model, layout, sequences, tokenizer.digits)
  room = candidates.Room.of(layout.compute.judged)
  judged = enumerate(judged)
  ahead = None
  while piece := list(
    itertools.islice(judged, AHEAD * layout.devices * room.candidates)
  ):
    texts = [candidate for _, candidate in piece]
    for parts in candidates.batches(texts, room, layout.devices):
      of = candidates.shape(texts[parts[0][0]])
      parts += [[]] * (layout.devices - len(parts))
      arrays = [
        candidates.arrays([texts[n] for n in part], room, of) for part in parts
      ]
      logp = score(language.params, *map(np.stack, zip(*arrays, strict=True)))
      places = [[piece[n][0] for n in part] for part in parts]
      if ahead:  # is fetched while the devices are busy with the next
        yield _fetched(*ahead)
      ahead = places, logp
  if ahead:
    yield _fetched(*ahead)


def _fetched(places, logp) -> list[tuple[int, np.ndarray]]:
  logp = jax.device_get(logp)
  return [
    (place, logp[device, n])
    for device, part in enumerate(places)
    for n, place in enumerate(part)
  ]


@functools.cache
def draw_program(model, layout, shape, **how):
  """Compiled once in a process, whatever stage asks for it."""
  return layout.each_device(engine.build(model, shape, **how))


@functools.cache
def label_program(model, layout, labels, not_after):
  """The same for the judge's labels."""
  return layout.each_device(
    label_scores.build(model, labels, np.array(not_after))
  )


def _up(length: int, multiple: int = 32) -> int:
  return -(-length // multiple) * multiple
