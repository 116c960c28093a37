"""Log-probabilities of labels behind texts: how a model judges."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from restpg_jax.engines import generator
from restpg_jax.models import precision
from restpg_jax.sampling import budget, candidates
from restpg_jax.sampling import labels as label_scores

AHEAD = 16  # batches of candidates that are read before they are sorted


def label_logp(
  language: generator.LoadedModel,
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
  room = room_of(language, sequences)
  judged = enumerate(judged)
  ahead = None
  while piece := list(
    itertools.islice(judged, AHEAD * layout.copies * layout.compute.judged)
  ):
    texts = [candidate for _, candidate in piece]
    for parts in candidates.batches(texts, room, layout.copies):
      of = candidates.shape(texts[parts[0][0]])
      parts += [[]] * (layout.copies - len(parts))
      arrays = [
        candidates.candidate_arrays([texts[n] for n in part], room(of), of)
        for part in parts
      ]
      logp = score(language.params, *map(np.stack, zip(*arrays, strict=True)))
      places = [[piece[n][0] for n in part] for part in parts]
      if ahead:  # is fetched while the devices are busy with the next
        yield _fetched(language, *ahead)
      ahead = places, logp
  if ahead:
    yield _fetched(language, *ahead)


def room_of(
  language: generator.LoadedModel, labels: Sequence[Sequence[int]]
) -> Callable[[tuple[int, int]], candidates.Room]:
  """What a device judges at once, by the lengths of prefix and rest."""
  layout = language.layout
  need = budget.Judging.of(
    language.model.size,
    weights=generator.weight_bytes(language),
    itemsize=np.dtype(language.model.dtype).itemsize,
    places=len(label_scores.LabelTree.of(labels).token_N) + 1,
  )
  return functools.partial(
    need.room, memory=layout.memory, most=layout.compute.judged
  )


@functools.cache
def label_program(model, layout, labels, not_after):
  """Compiled once in a process, whatever stage asks for it."""
  score = label_scores.build_label_program(model, labels, np.array(not_after))
  return layout.each_device(precision.exact(score, model.dtype))


def _fetched(
  language: generator.LoadedModel, places, logp
) -> list[tuple[int, np.ndarray]]:
  """Raises InputError where a label's is NaN: its arg-max would be a label."""
  logp = jax.device_get(logp)
  found = [
    (place, logp[device, n])
    for device, part in enumerate(places)
    for n, place in enumerate(part)
  ]
  for place, logp_L in found:
    if not np.isfinite(logp_L.max()):
      where = f'judge, answer {place}'
      what = 'log-probability of a label'
      raise generator.no_numbers(language, where, what, 'reward')
  return found
