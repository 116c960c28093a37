"""Slots that draw samples side by side on one device, and refill themselves.

A group of G slots works on one request: a prompt, read once, and the keys of
its samples. A slot whose sample has ended takes the group's next one at the
start of the next chunk of C steps; so all slots write at the same place of a
chunk, and what a sample reads is laid out the same whatever its neighbours do.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from restpg_jax.sampling import nucleus

STEPS = 16  # of a chunk; more would idle longer behind a sample's end


@dataclasses.dataclass(frozen=True)
class DecodeShape:
  """The one compiled shape of a stage, on each device."""

  groups: int  # A, requests side by side
  slots: int  # G of each group
  samples: int  # M of a request, at most
  prompt_length: int  # S, at most
  output_length: int  # O, at most
  steps: int = STEPS  # C of a chunk

  @property
  def suffix(self) -> int:
    """Tokens kept of a sample: O in whole chunks."""
    return -(-self.output_length // self.steps) * self.steps


class DecodeState(NamedTuple):
  """All that a device remembers between two chunks."""

  cache: list  # models.attention.Cache of each layer
  length_A: jax.Array  # of the groups' prompts
  # The requests: keys and limits of their samples, and what start found.
  keys_AM2: jax.Array
  limit_AM: jax.Array  # tokens of a sample, at most O
  first_AM: jax.Array  # first tokens
  first_logp_AM: jax.Array
  order_AM: jax.Array  # samples that need a slot, in order, then the others
  ready_A: jax.Array  # how many need one
  taken_A: jax.Array  # how many of those have had one
  # The slots.
  sample_AG: jax.Array  # which of the request's samples
  t_AG: jax.Array  # tokens it has so far
  token_AG: jax.Array  # its next
  logp_AG: jax.Array  # log-probability of its tokens, the next one included
  live_AG: jax.Array  # False: nothing to do


class PrefillOutput(NamedTuple):
  """What the host must know of a request that was started, [M] each."""

  empty_M: jax.Array  # the first token was a stop token
  logp_M: jax.Array  # of that token


class ChunkOutput(NamedTuple):
  """What the slots did in C steps, [A, G] each."""

  tokens_AGC: jax.Array
  count_AG: jax.Array  # how many of them belong to the sample
  sample_AG: jax.Array
  over_AG: jax.Array  # the sample is finished ..
  stopped_AG: jax.Array  # .. by a stop token, not by its limit
  logp_AG: jax.Array


class Programs(NamedTuple):
  """What runs on each device; start and advance may overwrite their state."""

  empty: Callable  # params -> State
  start: Callable  # see `build`
  advance: Callable  # params, State -> State, Chunk


def build(
  model,
  shape: DecodeShape,
  *,
  stop: Sequence[int],
  temperature: float,
  top_p: float,
  top_k: int = 0,
  words: int | None = None,
  alone: bool = True,
) -> Programs:
  """The programs of one device, to be compiled by layout.each_device.

  start(params, state, group, tokens_S, length, keys_M2, limit_M, count)
    -> State, Started: reads a prompt for a group; group A does nothing.

  `model` has the methods prefill, logits, room and step of an unstacked
  models.decoder.Decoder. Ids from `words` on are never drawn: Gemma's embedding
  has rows that no piece belongs to. A device that is not `alone` runs in step
  with others, which share a model. Log-probabilities are the model's own, at
  temperature 1.
  """
  A, G, M = shape.groups, shape.slots, shape.samples
  S, O, C = shape.prompt_length, shape.suffix, shape.steps  # noqa: E741

  def call(params, *args, method):
    return model.apply({'params': params}, *args, method=method)

  def choose(keys, logits):
    """Tokens and their log-probabilities for keys [..], logits [.., V]."""
    V = logits.shape[-1]
    spoken = logits
    if words is not None and words < V:
      spoken = jnp.where(jnp.arange(V) < words, logits, -jnp.inf)
    token = nucleus.sample(
      keys, spoken, temperature=temperature, top_p=top_p, top_k=top_k
    )
    said = jnp.take_along_axis(logits, token[..., None], -1)[..., 0]
    return token, said - jax.nn.logsumexp(logits, axis=-1)

  def stops(token):
    return jnp.isin(token, jnp.array(stop))

  def empty(params):
    cache = call(params, A, G, S, O, C, method='room')
    ints, floats = jnp.int32, jnp.float32
    return DecodeState(
      cache,
      jnp.zeros(A, ints),
      jnp.zeros((A, M, 2), jnp.uint32),
      jnp.zeros((A, M), ints),
      jnp.zeros((A, M), ints),
      jnp.zeros((A, M), floats),
      jnp.zeros((A, M), ints),
      jnp.zeros(A, ints),
      jnp.zeros(A, ints),
      jnp.zeros((A, G), ints),
      jnp.zeros((A, G), ints),
      jnp.zeros((A, G), ints),
      jnp.zeros((A, G), floats),
      jnp.zeros((A, G), bool),
    )

  def start(params, state, group, tokens_S, length, keys_M2, limit_M, count):
    def read(cache):
      hidden_1SD, kv = call(params, tokens_S[None], method='prefill')
      last_D = hidden_1SD[0, jnp.maximum(length - 1, 0)]
      return call(params, last_D, method='logits'), [
        layer.with_prompt(k, v, group)
        for layer, (k, v) in zip(cache, kv, strict=True)
      ]

    def nothing(cache):
      logits_V, _ = jax.eval_shape(read, cache)
      return jnp.zeros(logits_V.shape, logits_V.dtype), cache

    if alone:
      # Without a new request the device does not read one for company.
      logits_V, cache = jax.lax.cond(count > 0, read, nothing, state.cache)
    else:
      logits_V, cache = read(state.cache)
    keys_M = _fold(_keys(keys_M2), 0)
    first_M, logp_M = choose(
      keys_M, jnp.broadcast_to(logits_V, (M, *logits_V.shape))
    )
    wanted_M = jnp.arange(M) < count
    empty_M = wanted_M & stops(first_M)
    waits_M = wanted_M & ~empty_M

    def put(x_A, x):
      return x_A.at[group].set(x, mode='drop')

    return state._replace(
      cache=cache,
      length_A=put(state.length_A, length),
      keys_AM2=put(state.keys_AM2, keys_M2),
      limit_AM=put(state.limit_AM, limit_M),
      first_AM=put(state.first_AM, first_M),
      first_logp_AM=put(state.first_logp_AM, logp_M),
      order_AM=put(state.order_AM, jnp.argsort(~waits_M, stable=True)),
      ready_A=put(state.ready_A, jnp.sum(waits_M)),
      taken_A=put(state.taken_A, 0),
    ), PrefillOutput(empty_M, logp_M)

  def refilled(state: DecodeState) -> DecodeState:
    """Free slots take their group's next samples."""
    free_AG = ~state.live_AG
    rank_AG = jnp.cumsum(free_AG, axis=1) - free_AG
    n_AG = state.taken_A[:, None] + rank_AG
    takes_AG = free_AG & (n_AG < state.ready_A[:, None])

    def of(x_AM, index_AG):
      return jnp.take_along_axis(x_AM, index_AG, axis=1)

    new_AG = of(state.order_AM, jnp.minimum(n_AG, M - 1))
    sample_AG = jnp.where(takes_AG, new_AG, state.sample_AG)
    first_AG = of(state.first_AM, sample_AG)
    logp_AG = of(state.first_logp_AM, sample_AG)
    return state._replace(
      taken_A=state.taken_A + jnp.sum(takes_AG, axis=1),
      sample_AG=sample_AG,
      t_AG=jnp.where(takes_AG, 0, state.t_AG),
      token_AG=jnp.where(takes_AG, first_AG, state.token_AG),
      logp_AG=jnp.where(takes_AG, logp_AG, state.logp_AG),
      live_AG=state.live_AG | takes_AG,
    )

  def advance(params, state):
    state = refilled(state)
    was_AG = state.live_AG
    began_AG = jnp.where(was_AG, state.t_AG, 0)  # idle slots read nothing
    keys_AG2 = jnp.take_along_axis(
      state.keys_AM2, state.sample_AG[..., None], axis=1
    )
    limit_AG = jnp.take_along_axis(state.limit_AM, state.sample_AG, axis=1)
    keys_AG = _keys(keys_AG2)

    def going(carry):
      c, _, live_AG, *_ = carry
      return (c < C) & jnp.any(live_AG)

    def body(carry):
      c, token_AG, live_AG, stopped_AG, logp_AG, count_AG, out_AGC, new = carry
      out_AGC = out_AGC.at[:, :, c].set(token_AG)
      count_AG += live_AG
      # Of the cache only the chunk goes through the loop.
      cache = [
        layer._replace(chunk_k=k, chunk_v=v)
        for layer, (k, v) in zip(state.cache, new, strict=True)
      ]
      place = state.length_A, began_AG, c
      logits_AGV, cache = call(params, token_AG, cache, *place, method='step')
      keys = _fold(keys_AG, began_AG + c + 1)
      new_AG, new_logp_AG = choose(keys, logits_AGV)
      full_AG = count_AG + began_AG >= limit_AG
      goes_AG = live_AG & ~full_AG
      logp_AG += jnp.where(goes_AG, new_logp_AG, 0)
      stopped_AG |= goes_AG & stops(new_AG)
      return (
        c + 1,
        jnp.where(live_AG, new_AG, 0),
        goes_AG & ~stopped_AG,
        stopped_AG,
        logp_AG,
        count_AG,
        out_AGC,
        [(layer.chunk_k, layer.chunk_v) for layer in cache],
      )

    start = (
      jnp.int32(0),
      state.token_AG,
      state.live_AG,
      jnp.zeros_like(was_AG),
      state.logp_AG,
      jnp.zeros_like(began_AG),
      jnp.zeros((A, G, C), jnp.int32),
      [(layer.chunk_k, layer.chunk_v) for layer in state.cache],
    )
    _, token_AG, live_AG, stopped_AG, logp_AG, count_AG, out_AGC, new = (
      jax.lax.while_loop(going, body, start)
    )
    state = state._replace(
      cache=[
        layer._replace(chunk_k=k, chunk_v=v).with_chunk(began_AG)
        for layer, (k, v) in zip(state.cache, new, strict=True)
      ],
      t_AG=began_AG + count_AG,
      token_AG=token_AG,
      logp_AG=logp_AG,
      live_AG=live_AG,
    )
    chunk = ChunkOutput(
      out_AGC, count_AG, state.sample_AG, was_AG & ~live_AG, stopped_AG, logp_AG
    )
    return state, chunk

  return Programs(empty, start, advance)


def _keys(raw):
  return jax.random.wrap_key_data(raw, impl='threefry2x32')


def _fold(keys, t):
  """Each key with its position, or all with the same."""
  t = jnp.broadcast_to(t, keys.shape)
  fold = jax.vmap(jax.random.fold_in)
  return fold(keys.reshape(-1), t.reshape(-1)).reshape(keys.shape)
