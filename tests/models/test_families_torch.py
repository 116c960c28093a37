"""restpg_jax/models against `transformers`, family by family, in float32.

Random weights in reduced models. All of it needs PyTorch (the test extra).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restpg_jax.models import decoder, formats
from tests import tiny
from tests.models import families

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow
torch.set_num_threads(1)  # tiny products: more threads only wait

every = pytest.mark.parametrize('name', families.ALL)
NEW = 64  # tokens of a continuation


@every
def test_logits_equal_those_of_transformers(name):
  """Prompts of 1 to 300 tokens in one batch, left-padded for torch."""
  size = families.ALL[name]
  expected_BLV = torch_logits(reference(name), families.TOKENS)
  for n, length in enumerate(families.LENGTHS):
    ours = families.logits(size)[n, :length]
    theirs = expected_BLV[n, -length:]
    assert 1 < theirs.std() < 10
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)


@every
def test_greedy_continuations_equal_those_of_transformers(name):
  """Samples that share a prefix, one that follows the model and one that
  starts elsewhere; windows lie in the prefix, across its end and beyond."""
  prompts = [families.TOKENS[-1][:n] for n in (1, 6, 30, 70)]
  ours_PGT, logits_PGTV = continuations(families.ALL[name], prompts)
  assert len(np.unique(ours_PGT)) > 10  # no empty agreement
  others = [
    [*prompt, first]
    for prompt, first in zip(prompts, ours_PGT[:, 1, 0], strict=True)
  ]
  expected = greedy(reference(name), prompts + others)
  np.testing.assert_array_equal(ours_PGT[:, 0], expected[:4])
  np.testing.assert_array_equal(ours_PGT[:, 1, 1:], expected[4:, :-1])
  for prompt, texts, logits in zip(prompts, ours_PGT, logits_PGTV, strict=True):
    whole = [prompt + text.tolist() for text in texts]
    theirs = torch_logits(reference(name), whole)[:, -NEW:]
    np.testing.assert_allclose(logits, theirs, rtol=0, atol=2e-4)


@every
def test_gradients_equal_those_of_autograd(name):
  """Mean negative log-likelihood; relative error of each tensor."""
  size, model = families.ALL[name], reference(name)
  tokens_BL = np.random.default_rng(7).integers(1, 90, (2, 48))

  def loss(params):
    logits = decoder.Decoder(size).apply({'params': params}, tokens_BL[:, :-1])
    logp = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logp, tokens_BL[:, 1:, None], -1).mean()

  value, grads = jax.jit(jax.value_and_grad(loss))(families.parameters(size))
  model.zero_grad()
  inputs = torch.from_numpy(tokens_BL)
  logits = model(inputs[:, :-1]).logits
  expected = torch.nn.functional.cross_entropy(
    logits.flatten(0, 1), inputs[:, 1:].flatten()
  )
  expected.backward()
  np.testing.assert_allclose(value, expected.item(), rtol=1e-5)
  theirs = {name: p.grad.numpy() for name, p in model.named_parameters()}
  ours = families.written(grads, formats.hf(size, size.vocabulary))
  constants = set(ours) - set(theirs)
  assert constants == {n for n in ours if n.endswith('layer_scalar')}
  assert not any(ours[name].any() for name in constants)
  assert set(theirs) <= set(ours)
  for key, grad in theirs.items():
    error = np.linalg.norm(ours[key] - grad) / np.linalg.norm(grad)
    assert error <= 1e-4, f'{key}: {error}'


def continuations(size, prompts):
  """Greedy tokens [P, 2, NEW] and the logits behind them: prefill once, then a
  step a token; the second sample of each prompt is made to start elsewhere."""
  model = decoder.Decoder(size, stacked=False)
  lengths = np.array([len(prompt) for prompt in prompts])
  begun_PG = np.zeros((len(prompts), 2), int)

  @jax.jit
  def run(params, tokens_PS):
    params = decoder.unstacked(params)
    call = functools.partial(model.apply, {'params': params})
    hidden_PSD, kv = call(tokens_PS, method='prefill')
    last_PD = hidden_PSD[jnp.arange(len(prompts)), lengths - 1]
    best_P = call(last_PD, method='logits').argmax(-1)
    start_PG = jnp.stack([best_P, (best_P + 1) % size.vocabulary], axis=1)

    def step(state, t):
      tokens_PG, cache = state
      place = lengths, begun_PG, t
      logits, cache = call(tokens_PG, cache, *place, method='step')
      return (logits.argmax(-1), cache), (tokens_PG, logits)

    cache = tiny.cache(call, kv, samples=2, suffix=0, chunk=NEW)
    return jax.lax.scan(step, (start_PG, cache), jnp.arange(NEW))[1]

  found = run(families.parameters(size), families.rows(prompts, 80))
  return [np.moveaxis(np.asarray(x), 0, 2) for x in found]


def greedy(model, prompts):
  """The NEW tokens that transformers puts behind each prompt, [B, NEW]."""
  ids, mask = left_padded(prompts)
  out = model.generate(
    input_ids=ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False
  )
  return out[:, ids.shape[1] :].numpy()


@torch.no_grad()
def torch_logits(model, prompts):
  """[B, L, V] of left-padded rows."""
  ids, mask = left_padded(prompts)
  positions = (mask.cumsum(-1) - 1).clamp(min=0)
  return model(ids, attention_mask=mask, position_ids=positions).logits.numpy()


def left_padded(prompts):
  pad = functools.partial(
    families.rows, length=max(map(len, prompts)), left=True
  )
  mask = pad([[1] * len(prompt) for prompt in prompts])
  return torch.from_numpy(pad(prompts)), torch.from_numpy(mask)


@functools.cache
def reference(name):
  """The same model with the same weights in transformers."""
  size = families.ALL[name]
  family = name.split('_')[0]
  model = BUILD[family](size, **common(size)).eval()
  model.generation_config.eos_token_id = None  # nothing ends a text
  model.generation_config.pad_token_id = 0
  state = families.written(
    families.parameters(size), formats.hf(size, size.vocabulary)
  )
  if size.tied:
    state['lm_head.weight'] = state['model.embed_tokens.weight']
  model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
  return model


def common(size):
  return dict(
    vocab_size=size.vocabulary,
    hidden_size=size.width,
    intermediate_size=size.hidden,
    num_hidden_layers=size.layers,
    num_attention_heads=size.heads,
    num_key_value_heads=size.kv_heads,
    head_dim=size.head_size,
    rms_norm_eps=size.norm_eps,
    tie_word_embeddings=size.tied,
    attn_implementation='eager',
  )


def gemma(size, **settings):
  config = transformers.GemmaConfig(
    rope_parameters=rope(size.rope_base), **settings
  )
  return transformers.GemmaForCausalLM(config)


def gemma2(size, **settings):
  config = transformers.Gemma2Config(
    rope_parameters=rope(size.rope_base),
    attn_logit_softcapping=size.attention_softcap,
    final_logit_softcapping=size.final_softcap,
    **alternating(size),
    **settings,
  )
  return transformers.Gemma2ForCausalLM(config)


def gemma3(size, **settings):
  far = rope(size.rope_base)
  if size.rope_scale != 1:
    far = rope(size.rope_base, rope_type='linear', factor=size.rope_scale)
  config = transformers.Gemma3TextConfig(
    rope_parameters={
      'full_attention': far,
      'sliding_attention': rope(size.local_rope_base),
    },
    **alternating(size),
    **settings,
  )
  return transformers.Gemma3ForCausalLM(config)


def llama(size, **settings):
  scaling = {'rope_type': 'linear', 'factor': size.rope_scale}
  if size.rope_context:
    scaling |= {
      'rope_type': 'llama3',
      'low_freq_factor': 1.0,
      'high_freq_factor': 4.0,
      'original_max_position_embeddings': size.rope_context,
    }
  config = transformers.LlamaConfig(
    rope_parameters=rope(size.rope_base, **scaling), **settings
  )
  return transformers.LlamaForCausalLM(config)


def gemma4(size, **settings):
  config = transformers.Gemma4TextConfig(
    rope_parameters={
      'full_attention': rope(
        size.rope_base,
        rope_type='proportional',
        partial_rotary_factor=size.rope_share,
      ),
      'sliding_attention': rope(size.local_rope_base),
    },
    global_head_dim=size.global_head_size,
    num_global_key_value_heads=size.global_kv_heads or None,
    attention_k_eq_v=size.global_keys_are_values,
    hidden_size_per_layer_input=0,
    final_logit_softcapping=size.final_softcap,
    **windows(size),
    **settings,
  )
  return transformers.Gemma4ForCausalLM(config)


def qwen2(size, **settings):
  config = transformers.Qwen2Config(
    rope_parameters=rope(size.rope_base),
    use_sliding_window=True,
    sliding_window=size.window,
    max_window_layers=size.local_layers().index(True),
    **settings,
  )
  return transformers.Qwen2ForCausalLM(config)


def qwen3(size, **settings):
  config = transformers.Qwen3Config(
    rope_parameters=rope(size.rope_base), **settings
  )
  return transformers.Qwen3ForCausalLM(config)


BUILD = {
  'gemma': gemma,
  'gemma2': gemma2,
  'gemma3': gemma3,
  'gemma4': gemma4,
  'llama': llama,
  'qwen2': qwen2,
  'qwen3': qwen3,
}


def rope(base, **settings):
  return {'rope_type': 'default', 'rope_theta': base, **settings}


def alternating(size):
  """What Gemma 2 and 3 add: the scalar is an integer, 1 / scale ** 2."""
  scale = size.query_scale or size.head_size**-0.5
  return {'query_pre_attn_scalar': round(scale**-2), **windows(size)}


def windows(size):
  return {
    'sliding_window': size.window,
    'layer_types': [
      'sliding_attention' if local else 'full_attention'
      for local in size.local_layers()
    ],
  }
