"""Computes log-probabilities of a few short labels after each prompt."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from restpg_jax.sampling import model

BLOCK = 2048  # tokens that go through the model side by side, about
Params = Any  # a tree of arrays


@dataclasses.dataclass(frozen=True)
class LabelTree:
  """The labels and all their beginnings; each is written once.

  '1', '3' and '10' are three nodes: '1', '3' and, under '1', '10'.
  """

  token_N: np.ndarray  # the last one of each node
  parent_N: np.ndarray  # -1: directly behind the prompt
  path_NN: np.ndarray  # bool [n, m]: m is n itself or above it
  leaf_G: np.ndarray  # the node of each label

  @classmethod
  def of(cls, labels: Sequence[Sequence[int]]) -> 'LabelTree':
    """Returns the tree of these labels, shorter nodes before longer ones."""
    whole = [tuple(label) for label in labels]
    nodes = {label[: n + 1] for label in whole for n in range(len(label))}
    nodes = sorted(nodes, key=lambda node: (len(node), node))
    index = {node: n for n, node in enumerate(nodes)} | {(): -1}
    return cls(
      token_N=np.array([node[-1] for node in nodes], np.int32),
      parent_N=np.array([index[node[:-1]] for node in nodes]),
      path_NN=np.array([[a == b[: len(a)] for a in nodes] for b in nodes]),
      leaf_G=np.array([index[label] for label in whole]),
    )


def build_label_program(
  model: model.Model, labels: Sequence[Sequence[int]], not_after: np.ndarray
) -> Callable[..., jax.Array]:
  """Returns the program that scores a batch of candidates.

  score(params, prefix_PS, prefix_length_P, rest_CR, rest_length_C, behind_C)
    -> log-probabilities [C, labels]

  Candidate c's prompt is prefix behind_C[c] and then its rest; a rest of
  length 0 pads the batch. log P(label) = sum over its tokens + log P(the next
  token is none of `not_after`), over the whole vocabulary. Gemma writes "10"
  as "1", "0": without the second term "1" would collect the probability of
  "10" too (docs/reading_the_paper.md). A prefix is read once for all its
  candidates, a rest once for all labels: their tree follows it in the same row.
  `model` has the methods prefill, extend and logits of models.decoder.Decoder.
  """
  tree = LabelTree.of(labels)

  def score(
    params: Params,
    prefix_PS: jax.Array,
    prefix_length_P: jax.Array,
    rest_CR: jax.Array,
    rest_length_C: jax.Array,
    behind_C: jax.Array,
  ) -> jax.Array:
    call = functools.partial(_call, model, params)
    real_C = rest_length_C > 0
    kv = _prefilled(
      call, prefix_PS, jnp.max(jnp.where(real_C, behind_C + 1, 0))
    )
    C, R = rest_CR.shape
    c = side_by_side(R, C)

    def fill(n, logp_CG):
      part = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=c)
      rest, length, behind = (
        part(x, n * c) for x in (rest_CR, rest_length_C, behind_C)
      )
      tokens, *positions = _rows(tree, rest, length, prefix_length_P[behind])
      hidden = call(tokens, kv, behind, *positions, method='extend')
      last = hidden[jnp.arange(c), jnp.maximum(length - 1, 0)]
      hidden = jnp.concatenate([last[:, None], hidden[:, R:]], axis=1)
      logp = _label_logp(call(hidden, method='logits'), tree, not_after)
      return jax.lax.dynamic_update_slice_in_dim(logp_CG, logp, n * c, 0)

    start = jnp.zeros((C, len(labels)))
    return jax.lax.fori_loop(0, -(-jnp.sum(real_C) // c), fill, start)

  return score


def _call(model: model.Model, params: Params, *args: Any, method: str) -> Any:
  return model.apply({'params': params}, *args, method=method)


def side_by_side(length: int, rows: int) -> int:
  """Returns the number of `rows` that go through the model at a time.

  It is a power of two that divides them, for rows of this length.
  """
  return math.gcd(1 << max(1, BLOCK // length).bit_length() - 1, rows)


def _prefilled(
  call: Callable[..., Any], prefix_PS: jax.Array, count: jax.Array
) -> Any:
  """Returns the keys and values of the first `count` prefixes.

  A tree of [.., P, S, K, H]; those of the other prefixes are 0.
  """
  P, S = prefix_PS.shape
  p = side_by_side(2 * S, P)  # a prefix more than there are costs a whole one

  def read(n):
    tokens = jax.lax.dynamic_slice_in_dim(prefix_PS, n * p, p)
    return call(tokens, method='prefill')[1]

  def fill(n, kv):
    return jax.tree.map(
      lambda all_, new: jax.lax.dynamic_update_slice_in_dim(
        all_, new, n * p, axis=-4
      ),
      kv,
      read(n),
    )

  start = jax.tree.map(
    lambda x: jnp.zeros((*x.shape[:-4], P, *x.shape[-3:]), x.dtype),
    jax.eval_shape(read, 0),
  )
  return jax.lax.fori_loop(0, -(-count // p), fill, start)


def _rows(
  tree: LabelTree,
  rest_CR: jax.Array,
  rest_length_C: jax.Array,
  start_C: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Returns rests with the tree behind them, and where their tokens stand.

  The latter as the decoder's `extend` takes it: where each row starts, all
  positions, and which tokens each token sees.
  """
  C, R = rest_CR.shape
  N = len(tree.token_N)
  tokens = jnp.concatenate(
    [rest_CR, jnp.broadcast_to(tree.token_N, (C, N))], axis=1
  )
  depth_N = tree.path_NN.sum(-1)
  position = jnp.concatenate(
    [
      start_C[:, None] + jnp.arange(R),
      (start_C + rest_length_C)[:, None] + depth_N - 1,
    ],
    axis=1,
  )
  in_rest_CR = jnp.arange(R) < rest_length_C[:, None]
  seen = jnp.zeros((C, R + N, R + N), bool)
  seen = seen.at[:, :R, :R].set(np.tril(np.ones((R, R), bool)))
  seen = seen.at[:, R:, :R].set(in_rest_CR[:, None])
  seen = seen.at[:, R:, R:].set(tree.path_NN)
  return tokens, start_C, position, seen


def _label_logp(
  logits_CMV: jax.Array, tree: LabelTree, not_after: np.ndarray
) -> jax.Array:
  """Returns the labels' log-probabilities, [C, G].

  Logits are those behind the prompt (m = 0) and behind each node (n + 1).
  """
  norm_CM = jax.nn.logsumexp(logits_CMV, axis=-1)
  before_N = tree.parent_N + 1
  logp_CN = logits_CMV[:, before_N, tree.token_N] - norm_CM[:, before_N]
  # Not 1 - P(goes on): where that is .9999, float32 would keep 3 digits of it.
  goes_on_V = np.isin(np.arange(logits_CMV.shape[-1]), not_after)
  ends_CNV = jnp.where(goes_on_V, -jnp.inf, logits_CMV[:, 1:])
  ends_CN = jax.nn.logsumexp(ends_CNV, axis=-1) - norm_CM[:, 1:]
  path_GN = tree.path_NN[tree.leaf_G]
  logp_CG = jnp.sum(jnp.where(path_GN, logp_CN[:, None], 0), axis=-1)
  return logp_CG + ends_CN[:, tree.leaf_G]
