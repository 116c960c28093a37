"""Slots that draw samples side by side on one device, and refill themselves.

A group of G slots works on one request: a prompt, read once, and the keys of
its samples. A slot whose sample has ended takes the group's next one at the
start of the next chunk of C steps; so all slots write at the same place of a
chunk, and what a sample reads is laid out the same whatever its neighbours do.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from restpg_jax import integers
from restpg_jax.sampling import model, nucleus

Params = Any  # a tree of arrays
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
    """Returns the tokens kept of a sample: O in whole chunks."""
    return integers.round_up(self.output_length, self.steps)


class DecodeState(NamedTuple):
  """All that a device keeps between two chunks."""

  cache: list[Any]  # models.attention.Cache of each layer
  length_A: jax.Array  # of the groups' prompts
  # The requests: keys and limits of their samples, and what prefill made.
  keys_AM2: jax.Array
  limit_AM: jax.Array  # tokens of a sample, at most O
  first_AM: jax.Array  # first tokens
  first_logp_AM: jax.Array
  order_AM: jax.Array  # samples that need a slot, in order, then the others
  ready_A: jax.Array  # number of samples that need one
  taken_A: jax.Array  # number of those that have had one
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
  count_AG: jax.Array  # number of them that belong to the sample
  sample_AG: jax.Array
  over_AG: jax.Array  # the sample is finished ..
  stopped_AG: jax.Array  # .. by a stop token, not by its limit
  logp_AG: jax.Array


class Programs(NamedTuple):
  """DecodeProgram's methods, compiled for the devices by layout.each_device.

  prefill and decode_chunk may overwrite the state that they are given.
  """

  empty_state: Callable[..., DecodeState]
  prefill: Callable[..., tuple[DecodeState, PrefillOutput]]
  decode_chunk: Callable[..., tuple[DecodeState, ChunkOutput]]


class _LoopState(NamedTuple):
  """What the steps of a chunk hand on to each other."""

  c: jax.Array  # steps so far
  token_AG: jax.Array  # the token that goes through the model next
  live_AG: jax.Array
  stopped_AG: jax.Array
  logp_AG: jax.Array
  count_AG: jax.Array  # tokens of the chunk that belong to the sample
  tokens_AGC: jax.Array
  chunk_kv: list[tuple[jax.Array, jax.Array]]  # of each layer's cache


@dataclasses.dataclass(frozen=True, eq=False)
class DecodeProgram:
  """What runs on one device, as functions of its parameters and its state.

  `model` has the methods prefill, logits, empty_cache and step of an unstacked
  models.decoder.Decoder. Log-probabilities are the model's own, at
  temperature 1.
  """

  model: model.Model
  shape: DecodeShape
  _: dataclasses.KW_ONLY
  stop: Sequence[int]  # tokens that end a sample
  temperature: float
  top_p: float
  top_k: int = 0
  # Ids from here on are never drawn: Gemma's embedding has rows that no piece
  # belongs to. None: every row is a token.
  vocab_size: int | None = None
  # False: the device runs in step with others, with which it shares a model.
  alone: bool = True

  def empty_state(self, params: Params) -> DecodeState:
    """Returns the state before the first request."""
    shape = self.shape
    A, G, M = shape.groups, shape.slots, shape.samples
    cache = self._apply(
      params,
      *(A, G, shape.prompt_length, shape.suffix, shape.steps),
      method='empty_cache',
    )
    ints, floats = jnp.int32, jnp.float32
    return DecodeState(
      cache=cache,
      length_A=jnp.zeros(A, ints),
      keys_AM2=jnp.zeros((A, M, 2), jnp.uint32),
      limit_AM=jnp.zeros((A, M), ints),
      first_AM=jnp.zeros((A, M), ints),
      first_logp_AM=jnp.zeros((A, M), floats),
      order_AM=jnp.zeros((A, M), ints),
      ready_A=jnp.zeros(A, ints),
      taken_A=jnp.zeros(A, ints),
      sample_AG=jnp.zeros((A, G), ints),
      t_AG=jnp.zeros((A, G), ints),
      token_AG=jnp.zeros((A, G), ints),
      logp_AG=jnp.zeros((A, G), floats),
      live_AG=jnp.zeros((A, G), bool),
    )

  def prefill(
    self,
    params: Params,
    state: DecodeState,
    group: jax.Array,
    tokens_S: jax.Array,
    length: jax.Array,
    keys_M2: jax.Array,
    limit_M: jax.Array,
    count: jax.Array,
  ) -> tuple[DecodeState, PrefillOutput]:
    """Reads a prompt for a group and chooses its samples' first tokens.

    The prompt is the first `length` of the tokens, and `count` samples are
    drawn, with the first of the keys and limits. Group A does nothing.
    """
    M = self.shape.samples

    def read(cache):
      hidden_1SD, kv = self._apply(params, tokens_S[None], method='prefill')
      last_D = hidden_1SD[0, jnp.maximum(length - 1, 0)]
      return self._apply(params, last_D, method='logits'), [
        layer.with_prompt(k, v, group)
        for layer, (k, v) in zip(cache, kv, strict=True)
      ]

    def nothing(cache):
      logits_V, _ = jax.eval_shape(read, cache)
      return jnp.zeros(logits_V.shape, logits_V.dtype), cache

    if self.alone:
      # Without a new request the device does not read one for company.
      logits_V, cache = jax.lax.cond(count > 0, read, nothing, state.cache)
    else:
      logits_V, cache = read(state.cache)
    keys_M = _fold(_keys(keys_M2), 0)
    first_M, logp_M = self._choose(
      keys_M, jnp.broadcast_to(logits_V, (M, *logits_V.shape))
    )
    requested_M = jnp.arange(M) < count
    empty_M = requested_M & self._stops(first_M)
    waits_M = requested_M & ~empty_M

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

  def decode_chunk(
    self, params: Params, state: DecodeState
  ) -> tuple[DecodeState, ChunkOutput]:
    """Refills the slots, then gives each up to C tokens."""
    A, G, C = self.shape.groups, self.shape.slots, self.shape.steps
    state = _refill(state)
    was_live_AG = state.live_AG
    # Idle slots read nothing of their suffix.
    begun_AG = jnp.where(was_live_AG, state.t_AG, 0)
    keys_AG2 = jnp.take_along_axis(
      state.keys_AM2, state.sample_AG[..., None], axis=1
    )
    limit_AG = jnp.take_along_axis(state.limit_AM, state.sample_AG, axis=1)
    keys_AG = _keys(keys_AG2)

    def goes_on(loop: _LoopState):
      return (loop.c < C) & jnp.any(loop.live_AG)

    def step(loop: _LoopState) -> _LoopState:
      return self._step(params, state, loop, begun_AG, limit_AG, keys_AG)

    start = _LoopState(
      c=jnp.int32(0),
      token_AG=state.token_AG,
      live_AG=state.live_AG,
      stopped_AG=jnp.zeros_like(was_live_AG),
      logp_AG=state.logp_AG,
      count_AG=jnp.zeros_like(begun_AG),
      tokens_AGC=jnp.zeros((A, G, C), jnp.int32),
      chunk_kv=[(layer.chunk_k, layer.chunk_v) for layer in state.cache],
    )
    end = jax.lax.while_loop(goes_on, step, start)
    state = state._replace(
      cache=[
        layer.with_chunk(begun_AG) for layer in _with_kv(state.cache, end)
      ],
      t_AG=begun_AG + end.count_AG,
      token_AG=end.token_AG,
      logp_AG=end.logp_AG,
      live_AG=end.live_AG,
    )
    return state, ChunkOutput(
      tokens_AGC=end.tokens_AGC,
      count_AG=end.count_AG,
      sample_AG=state.sample_AG,
      over_AG=was_live_AG & ~end.live_AG,
      stopped_AG=end.stopped_AG,
      logp_AG=end.logp_AG,
    )

  def _step(
    self,
    params: Params,
    state: DecodeState,
    loop: _LoopState,
    begun_AG: jax.Array,
    limit_AG: jax.Array,
    keys_AG: jax.Array,
  ) -> _LoopState:
    """Feeds each slot's token to the model and chooses the next one."""
    tokens_AGC = loop.tokens_AGC.at[:, :, loop.c].set(loop.token_AG)
    count_AG = loop.count_AG + loop.live_AG
    # Of the cache only the chunk goes through the loop.
    logits_AGV, cache = self._apply(
      params,
      loop.token_AG,
      _with_kv(state.cache, loop),
      *(state.length_A, begun_AG, loop.c),
      method='step',
    )
    step_keys_AG = _fold(keys_AG, begun_AG + loop.c + 1)
    next_AG, next_logp_AG = self._choose(step_keys_AG, logits_AGV)
    full_AG = count_AG + begun_AG >= limit_AG
    goes_on_AG = loop.live_AG & ~full_AG
    logp_AG = loop.logp_AG + jnp.where(goes_on_AG, next_logp_AG, 0)
    stopped_AG = loop.stopped_AG | (goes_on_AG & self._stops(next_AG))
    return _LoopState(
      c=loop.c + 1,
      token_AG=jnp.where(loop.live_AG, next_AG, 0),
      live_AG=goes_on_AG & ~stopped_AG,
      stopped_AG=stopped_AG,
      logp_AG=logp_AG,
      count_AG=count_AG,
      tokens_AGC=tokens_AGC,
      chunk_kv=[(layer.chunk_k, layer.chunk_v) for layer in cache],
    )

  def _apply(self, params: Params, *args: Any, method: str) -> Any:
    return self.model.apply({'params': params}, *args, method=method)

  def _choose(
    self, keys: jax.Array, logits: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns tokens and their log-probabilities, [..] each, for keys [..] and
    logits [.., V]."""
    V = logits.shape[-1]
    allowed = logits
    if self.vocab_size is not None and self.vocab_size < V:
      allowed = jnp.where(jnp.arange(V) < self.vocab_size, logits, -jnp.inf)
    token = nucleus.sample(
      keys,
      allowed,
      temperature=self.temperature,
      top_p=self.top_p,
      top_k=self.top_k,
    )
    logit = jnp.take_along_axis(logits, token[..., None], -1)[..., 0]
    return token, logit - jax.nn.logsumexp(logits, axis=-1)

  def _stops(self, token: jax.Array) -> jax.Array:
    return jnp.isin(token, jnp.array(self.stop))


def _refill(state: DecodeState) -> DecodeState:
  """Gives free slots their group's next samples."""
  M = state.order_AM.shape[1]
  free_AG = ~state.live_AG
  rank_AG = jnp.cumsum(free_AG, axis=1) - free_AG
  n_AG = state.taken_A[:, None] + rank_AG
  takes_AG = free_AG & (n_AG < state.ready_A[:, None])

  def take(x_AM, index_AG):
    return jnp.take_along_axis(x_AM, index_AG, axis=1)

  new_AG = take(state.order_AM, jnp.minimum(n_AG, M - 1))
  sample_AG = jnp.where(takes_AG, new_AG, state.sample_AG)
  first_AG = take(state.first_AM, sample_AG)
  logp_AG = take(state.first_logp_AM, sample_AG)
  return state._replace(
    taken_A=state.taken_A + jnp.sum(takes_AG, axis=1),
    sample_AG=sample_AG,
    t_AG=jnp.where(takes_AG, 0, state.t_AG),
    token_AG=jnp.where(takes_AG, first_AG, state.token_AG),
    logp_AG=jnp.where(takes_AG, logp_AG, state.logp_AG),
    live_AG=state.live_AG | takes_AG,
  )


def _with_kv(cache: list[Any], loop: _LoopState) -> list[Any]:
  """Returns the cache with the chunks that the loop has written."""
  return [
    layer._replace(chunk_k=k, chunk_v=v)
    for layer, (k, v) in zip(cache, loop.chunk_kv, strict=True)
  ]


def _keys(raw: jax.Array) -> jax.Array:
  return jax.random.wrap_key_data(raw, impl='threefry2x32')


def _fold(keys: jax.Array, t: jax.Array | int) -> jax.Array:
  """Returns each key folded with its position, or all with the same one."""
  t = jnp.broadcast_to(t, keys.shape)
  fold = jax.vmap(jax.random.fold_in)
  return fold(keys.reshape(-1), t.reshape(-1)).reshape(keys.shape)
