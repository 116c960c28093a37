"""Log-probabilities of labels behind texts: how a model judges."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from restpg_jax.engines import generator, program_cache
from restpg_jax.models import decoder as decoders
from restpg_jax.models import precision
from restpg_jax.parallel import layout as layouts
from restpg_jax.sampling import budget, candidates
from restpg_jax.sampling import labels as label_scores

# Batches of candidates that are read before they are sorted by shape: among
# few, many a batch of one shape would be partly empty.
AHEAD = 16


def label_logp(
  model: generator.LoadedModel,
  judged: Iterable[candidates.Candidate],
  labels: Sequence[str],
  *,
  limit: int,
) -> Iterator[list[tuple[int, np.ndarray]]]:
  """Yields pairs of a candidate's index in `judged` and its [labels] float32.

  These are log-probabilities, yielded as they are known, which is not in order.
  `judged` is read a piece at a time: candidates with one prefix should follow
  each other. None has more than `limit` tokens, by which the compiled lengths
  are chosen: another limit may change the last bits. Raises InputError where
  all labels of a candidate are NaN.
  """
  layout, tokenizer = model.layout, model.tokenizer
  sequences = tuple(tuple(tokenizer.encode(label)) for label in labels)
  score = label_program(model.decoder, layout, sequences, tokenizer.digits)
  room = room_of(model, sequences)
  compiled = candidates.compiled_lengths(limit)
  numbered = enumerate(judged)
  ahead = None
  while piece := list(
    itertools.islice(numbered, AHEAD * layout.copies * layout.compute.judged)
  ):
    texts = [candidates.fitted(candidate, compiled) for _, candidate in piece]
    for parts in candidates.batches(texts, compiled, room, layout.copies):
      lengths = candidates.shape(texts[parts[0][0]], compiled)
      parts += [[]] * (layout.copies - len(parts))
      arrays = [
        candidates.candidate_arrays(
          [texts[n] for n in part], room(lengths), lengths
        )
        for part in parts
      ]
      logp = score(model.params, *map(np.stack, zip(*arrays, strict=True)))
      indices = [[piece[n][0] for n in part] for part in parts]
      if ahead:  # is fetched while the devices are busy with the next
        yield _fetch(model, *ahead)
      ahead = indices, logp
  if ahead:
    yield _fetch(model, *ahead)


def room_of(
  model: generator.LoadedModel, labels: Sequence[Sequence[int]]
) -> Callable[[tuple[int, int]], candidates.Room]:
  """Returns room(lengths): what a device judges at once.

  `labels` are token ids, `lengths` the compiled ones of prefix and rest.
  """
  layout = model.layout
  return functools.partial(
    memory_need(model, labels).room,
    memory=layout.memory,
    max_candidates=layout.compute.judged,
  )


def memory_need(
  model: generator.LoadedModel, labels: Sequence[Sequence[int]]
) -> budget.Judging:
  """Returns what judging keeps on a device."""
  return budget.Judging.of(
    model.decoder.size,
    weights=generator.weight_bytes(model),
    itemsize=np.dtype(model.decoder.dtype).itemsize,
    num_logits=len(label_scores.LabelTree.of(labels).token_N) + 1,
  )


@program_cache.compiled_once
def label_program(
  decoder: decoders.Decoder,
  layout: layouts.Layout,
  labels: tuple[tuple[int, ...], ...],
  not_after: tuple[int, ...],
) -> jax.stages.Wrapped:
  """Builds labels.build_label_program's score for all devices at once.

  `labels` are token ids; no label counts that a token of `not_after` follows.
  """
  score = label_scores.build_label_program(decoder, labels, np.array(not_after))
  return layout.each_device(precision.exact(score, decoder.dtype))


def _fetch(
  model: generator.LoadedModel, indices: list[list[int]], logp: jax.Array
) -> list[tuple[int, np.ndarray]]:
  """Brings logp [devices, C, labels] to the host, paired with its indices.

  Raises InputError where a label's is NaN: its arg-max would be a label.
  """
  logp_DCL = jax.device_get(logp)
  pairs = [
    (index, logp_DCL[device, c])
    for device, part in enumerate(indices)
    for c, index in enumerate(part)
  ]
  for index, logp_L in pairs:
    if not np.isfinite(logp_L.max()):
      where = f'judge, answer {index}'
      quantity = 'log-probability of a label'
      raise generator.no_numbers(model, where, quantity, 'reward')
  return pairs
