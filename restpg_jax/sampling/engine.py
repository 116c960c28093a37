"""Draws samples: a prompt is read once for all samples of its input."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax.sampling import nucleus


@dataclasses.dataclass(frozen=True)
class Shape:
  """The one compiled shape of a stage, on each device."""

  prompts: int  # P, side by side
  samples: int  # G of each prompt, side by side
  prompt_length: int  # S
  output_length: int  # O


@dataclasses.dataclass(frozen=True)
class Request:
  """A prompt and the keys of the samples wanted of it (at most G)."""

  prompt: Sequence[int]
  keys: Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Drawn:
  """One sample: its tokens, without the stop token."""

  tokens: list[int]
  ended: bool  # False: the limit came first


def build(
  model,
  shape: Shape,
  *,
  stop: int,
  temperature: float,
  top_p: float,
  words: int | None = None,
):
  """draw(params, tokens_PS, length_P, keys_PG2) -> tokens_PGO, count_PG, ended.

  `model` has the methods prefill, logits, cache and step of
  models.decoder.Decoder. A prompt of length 0 pads the batch. `count` is the
  number of tokens before the stop token, O if there was none. Ids from `words`
  on are never drawn: Gemma's embedding has rows that no piece belongs to.
  """
  P, G, O = shape.prompts, shape.samples, shape.output_length  # noqa: E741

  def draw(params, tokens_PS, length_P, keys_PG2):
    def call(*args, method):
      return model.apply({'params': params}, *args, method=method)

    keys_PG = jax.random.wrap_key_data(keys_PG2, impl='threefry2x32')

    def choose(logits_PGV, t):
      if words is not None and words < logits_PGV.shape[-1]:
        spoken_V = jnp.arange(logits_PGV.shape[-1]) < words
        logits_PGV = jnp.where(spoken_V, logits_PGV, -jnp.inf)
      keys = jax.vmap(lambda k: jax.random.fold_in(k, t))(keys_PG.reshape(-1))
      return nucleus.sample(
        keys.reshape(P, G), logits_PGV, temperature=temperature, top_p=top_p
      )

    hidden_PSD, kv = call(tokens_PS, method='prefill')
    last_PD = hidden_PSD[jnp.arange(P), jnp.maximum(length_P - 1, 0)]
    logits_PV = call(last_PD, method='logits')
    first_PG = choose(logits_PV[:, None].repeat(G, axis=1), 0)

    def going(carry):
      t, _, _, done_PG, _, _ = carry
      return (t < O) & ~jnp.all(done_PG)

    def body(carry):
      t, token_PG, out_PGO, done_PG, count_PG, cache = carry
      done_PG = done_PG | (token_PG == stop)
      count_PG = count_PG + ~done_PG
      token_PG = jnp.where(done_PG, 0, token_PG)
      out_PGO = out_PGO.at[:, :, t].set(token_PG)
      logits_PGV, cache = call(token_PG, cache, length_P, t, method='step')
      return t + 1, choose(logits_PGV, t + 1), out_PGO, done_PG, count_PG, cache

    start = (
      jnp.int32(0),
      first_PG,
      jnp.zeros((P, G, O), jnp.int32),
      jnp.broadcast_to(length_P[:, None] == 0, (P, G)),
      jnp.zeros((P, G), jnp.int32),
      call(kv, G, O, method='cache'),
    )
    _, _, out_PGO, done_PG, count_PG, _ = jax.lax.while_loop(going, body, start)
    return out_PGO, count_PG, done_PG

  return draw


def run(
  draw: Callable[..., Any],
  params,
  requests: Sequence[Request],
  shape: Shape,
  devices: int,
) -> Iterator[list[list[Drawn]]]:
  """Feeds requests in order; yields the samples of each, batch by batch.

  `draw` takes arrays with a leading axis of `devices` (layout.each_device).
  """
  size = devices * shape.prompts
  for start in range(0, len(requests), size):
    batch = requests[start : start + size]
    tokens, length, keys = arrays(batch, shape, size)
    fold = lambda x: x.reshape(devices, shape.prompts, *x.shape[1:])  # noqa: E731
    out = draw(params, fold(tokens), fold(length), fold(keys))
    out, count, ended = (
      np.asarray(x).reshape(size, *x.shape[2:]) for x in jax.device_get(out)
    )
    yield [
      [
        Drawn(out[n, g, : count[n, g]].tolist(), bool(ended[n, g]))
        for g in range(len(request.keys))
      ]
      for n, request in enumerate(batch)
    ]


def arrays(requests: Sequence[Request], shape: Shape, size: int):
  """Right-padded prompts [size, S], lengths [size], keys [size, G, 2]."""
  tokens = np.zeros((size, shape.prompt_length), np.int32)
  length = np.zeros(size, np.int32)
  keys = np.zeros((size, shape.samples, 2), np.uint32)
  for n, request in enumerate(requests):
    length[n] = len(request.prompt)
    tokens[n, : length[n]] = request.prompt
    for g, key in enumerate(request.keys):
      keys[n, g] = key
  return tokens, length, keys
