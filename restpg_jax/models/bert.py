"""Encodes texts with a BERT, as Contriever and sentence encoders do.

Post-norm layers over learned positions; a text is the mean of its last hidden
states. BERT: arXiv 1810.04805, Contriever: arXiv 2112.09118.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from restpg_jax import errors

ACTIVATIONS = {
  'gelu': functools.partial(jax.nn.gelu, approximate=False),
  'gelu_new': functools.partial(jax.nn.gelu, approximate=True),
  'relu': jax.nn.relu,
}
MASKED = -1e30  # finite: a fully masked row must not become NaN


@dataclasses.dataclass(frozen=True)
class EncoderSize:
  """The shape of an encoder."""

  layers: int
  width: int  # D
  hidden: int  # of the feed-forward
  heads: int  # N
  vocabulary: int  # V
  positions: int  # tokens of a text, at most
  activation: str = 'gelu'
  norm_eps: float = 1e-12

  def __post_init__(self):
    """Raises InputError for a shape that no encoder has."""
    if self.activation not in ACTIVATIONS:
      raise errors.InputError(
        f'encoder: activation {self.activation!r} is not known; known: '
        f'{", ".join(ACTIVATIONS)}'
      )
    if self.width % self.heads:
      raise errors.InputError(
        f'encoder: {self.heads} heads do not divide a width of {self.width}'
      )


class BertEncoder(nn.Module):
  """Turns texts into one vector each."""

  size: EncoderSize

  @nn.compact
  def __call__(self, tokens_BL: jax.Array, length_B: jax.Array) -> jax.Array:
    """Returns [B, D] for tokens [B, L], of which `length` each are the text."""
    s = self.size
    B, L = tokens_BL.shape
    init = nn.initializers.normal(0.02)
    table_VD = self.param('words', init, (s.vocabulary, s.width))
    # The kind of a first text (of two) is added to every position.
    positions_LD = self.param('positions', init, (s.positions, s.width))
    x_BLD = Norm(s.norm_eps, name='norm')(
      table_VD[tokens_BL] + positions_LD[:L]
    )
    real_BL = jnp.arange(L) < length_B[:, None]
    for n in range(s.layers):
      x_BLD = Layer(s, name=f'layer_{n}')(x_BLD, real_BL)
    total_BD = jnp.sum(jnp.where(real_BL[..., None], x_BLD, 0), axis=1)
    return total_BD / jnp.maximum(length_B, 1)[:, None]


class Layer(nn.Module):
  """Attention over the text, then a feed-forward, each followed by a norm."""

  size: EncoderSize

  @nn.compact
  def __call__(self, x_BLD: jax.Array, real_BL: jax.Array) -> jax.Array:
    s = self.size
    B, L, D = x_BLD.shape
    H = D // s.heads

    def heads(name: str) -> jax.Array:
      return Dense(D, name=name)(x_BLD).reshape(B, L, s.heads, H)

    q, k, v = heads('query'), heads('key'), heads('value')
    scores = jnp.einsum('blnh,bmnh->bnlm', q * H**-0.5, k)
    scores = jnp.where(real_BL[:, None, None], scores, MASKED)
    weights = jnp.exp(scores - jnp.max(scores, -1, keepdims=True))
    # The mixed values are divided by the sum, not the weights: these are more.
    y = jnp.einsum('bnlm,bmnh->bnlh', weights, v)
    y = (y / jnp.sum(weights, -1, keepdims=True)).transpose(0, 2, 1, 3)
    y = Dense(D, name='out')(y.reshape(B, L, D))
    x = Norm(s.norm_eps, name='attention_norm')(x_BLD + y)
    y = ACTIVATIONS[s.activation](Dense(s.hidden, name='up')(x))
    y = Dense(D, name='down')(y)
    return Norm(s.norm_eps, name='feed_forward_norm')(x + y)


class Dense(nn.Module):
  """Computes x w + b."""

  width: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    draw = nn.initializers.normal(0.02)
    w = self.param('w', draw, (x.shape[-1], self.width))
    return x @ w + self.param('b', nn.initializers.zeros, (self.width,))


class Norm(nn.Module):
  """Norms over the last axis, with scale and bias."""

  eps: float

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = self.param('scale', nn.initializers.ones, (x.shape[-1],))
    bias = self.param('bias', nn.initializers.zeros, (x.shape[-1],))
    x -= jnp.mean(x, -1, keepdims=True)
    y = x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + self.eps)
    return y * scale + bias
