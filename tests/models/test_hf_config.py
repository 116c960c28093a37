"""config.json: both styles in, what we cannot follow refused."""

import dataclasses

import pytest

from restpg_jax import errors
from restpg_jax.models import catalog, formats, hf_config
from tests.models import families

# As Google publishes them, with transformers 4's names.
GEMMA_2B = {
  'architectures': ['GemmaForCausalLM'],
  'attention_bias': False,
  'head_dim': 256,
  'hidden_act': 'gelu',
  'hidden_activation': None,
  'hidden_size': 2048,
  'intermediate_size': 16384,
  'model_type': 'gemma',
  'num_attention_heads': 8,
  'num_hidden_layers': 18,
  'num_key_value_heads': 1,
  'rms_norm_eps': 1e-06,
  'rope_scaling': None,
  'rope_theta': 10000.0,
  'torch_dtype': 'bfloat16',
  'vocab_size': 256000,
}
GEMMA3_4B = {
  'architectures': ['Gemma3ForConditionalGeneration'],
  'model_type': 'gemma3',
  'text_config': {
    'hidden_size': 2560,
    'intermediate_size': 10240,
    'model_type': 'gemma3_text',
    'num_hidden_layers': 34,
    'rope_scaling': {'factor': 8.0, 'rope_type': 'linear'},
    'sliding_window': 1024,
  },
  'vision_config': {'hidden_size': 1152},
}
# Gemma 4's 31B as published, what is of its text: the style of transformers 5.
GEMMA4_31B = {
  'architectures': ['Gemma4ForConditionalGeneration'],
  'model_type': 'gemma4',
  'text_config': {
    'model_type': 'gemma4_text',
    'attention_k_eq_v': True,
    'final_logit_softcapping': 30.0,
    'global_head_dim': 512,
    'head_dim': 256,
    'hidden_size': 5376,
    'hidden_size_per_layer_input': 0,
    'intermediate_size': 21504,
    'num_attention_heads': 32,
    'num_global_key_value_heads': 4,
    'num_hidden_layers': 60,
    'num_key_value_heads': 16,
    'sliding_window': 1024,
    'use_bidirectional_attention': 'vision',
  },
  'vision_config': {'model_type': 'gemma4_vision'},
}
LLAMA_32_1B = {
  'model_type': 'llama',
  'attention_bias': False,
  'head_dim': 64,
  'hidden_act': 'silu',
  'hidden_size': 2048,
  'intermediate_size': 8192,
  'max_position_embeddings': 131072,
  'mlp_bias': False,
  'num_attention_heads': 32,
  'num_hidden_layers': 16,
  'num_key_value_heads': 8,
  'rms_norm_eps': 1e-05,
  'rope_scaling': {
    'factor': 32.0,
    'high_freq_factor': 4.0,
    'low_freq_factor': 1.0,
    'original_max_position_embeddings': 8192,
    'rope_type': 'llama3',
  },
  'rope_theta': 500000.0,
  'tie_word_embeddings': True,
  'vocab_size': 128256,
}
QWEN_25_1B5 = {
  'architectures': ['Qwen2ForCausalLM'],
  'model_type': 'qwen2',
  'hidden_act': 'silu',
  'hidden_size': 1536,
  'intermediate_size': 8960,
  'max_position_embeddings': 131072,
  'max_window_layers': 28,
  'num_attention_heads': 12,
  'num_hidden_layers': 28,
  'num_key_value_heads': 2,
  'rms_norm_eps': 1e-06,
  'rope_theta': 1000000.0,
  'sliding_window': 131072,
  'tie_word_embeddings': True,
  'use_mrope': False,
  'use_sliding_window': False,
  'vocab_size': 151936,
}
QWEN_3_0B6 = {
  'architectures': ['Qwen3ForCausalLM'],
  'model_type': 'qwen3',
  'attention_bias': False,
  'head_dim': 128,
  'hidden_act': 'silu',
  'hidden_size': 1024,
  'intermediate_size': 3072,
  'max_position_embeddings': 40960,
  'max_window_layers': 28,
  'num_attention_heads': 16,
  'num_hidden_layers': 28,
  'num_key_value_heads': 8,
  'rms_norm_eps': 1e-06,
  'rope_scaling': None,
  'rope_theta': 1000000,
  'sliding_window': None,
  'tie_word_embeddings': True,
  'use_sliding_window': False,
  'vocab_size': 151936,
}
PUBLISHED = {
  'gemma_2b': (GEMMA_2B, 256_000),
  'gemma3_4b': (GEMMA3_4B, 262_208),
  'gemma4_31b': (GEMMA4_31B, 262_144),
  'llama32_1b': (LLAMA_32_1B, 128_256),
  'qwen25_1b5': (QWEN_25_1B5, 151_936),
  'qwen3_0b6': (QWEN_3_0B6, 151_936),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_files_give_the_catalogs_sizes(name):
  config, rows = PUBLISHED[name]
  wanted = dataclasses.replace(catalog.CATALOG[name], vocabulary=rows)
  assert hf_config.parse_config(config) == wanted
  assert hf_config.embedding_rows(config) == rows


@pytest.mark.parametrize('name', catalog.CATALOG)
def test_what_is_written_reads_back(name):
  size = catalog.CATALOG[name]
  rows = formats.HF_ROWS.get(size.vocabulary, size.vocabulary)
  config = hf_config.render_config(size, rows=rows, dtype='bfloat16')
  assert hf_config.parse_config(config) == size
  assert hf_config.embedding_rows(config) == rows


@pytest.mark.parametrize(
  'change, named',
  [
    ({'model_type': 'mistral'}, "model_type 'mistral'"),
    ({'attention_bias': True}, 'attention_bias=True'),
    ({'mlp_bias': True}, 'mlp_bias=True'),
    ({'quantization_config': {'bits': 4}}, 'quantization_config'),
    ({'hidden_act': 'relu'}, "hidden_act='relu'"),
    ({'num_attention_heads': '8'}, "num_attention_heads='8'"),
    ({'rope_scaling': {'type': 'yarn', 'factor': 2}}, 'rope_scaling'),
    (
      {'rope_scaling': LLAMA_32_1B['rope_scaling'] | {'low_freq_factor': 2}},
      'rope_scaling',
    ),
    ({'rope_parameters': {'partial_rotary_factor': 0.5}}, 'partial_rotary'),
    ({'layer_types': ['full_attention']}, 'layer_types'),
    ({'layer_types': ['linear_attention'] * 16}, 'layer_types'),
  ],
)
def test_a_field_that_we_cannot_follow_is_named(change, named):
  with pytest.raises(errors.InputError, match=named):
    hf_config.parse_config(LLAMA_32_1B | change)


def test_the_upper_layers_of_qwen_may_have_a_window():
  size = hf_config.parse_config(
    QWEN_25_1B5
    | {
      'use_sliding_window': True,
      'sliding_window': 512,
      'num_hidden_layers': 4,
      'max_window_layers': 3,
    }
  )
  assert (size.pattern, size.window) == ('gggl', 512)
  for fields in ({}, {'use_sliding_window': True, 'sliding_window': None}):
    with pytest.raises(errors.InputError, match='they contradict each other'):
      hf_config.parse_config(
        QWEN_3_0B6 | {'layer_types': ['sliding_attention'] * 28} | fields
      )
  with pytest.raises(errors.InputError, match='attention_bias=True'):
    hf_config.parse_config(QWEN_3_0B6 | {'attention_bias': True})


def test_linear_scaling_of_local_layers_is_refused():
  config = {'model_type': 'gemma2', 'rope_scaling': {'type': 'linear'}}
  config['rope_scaling']['factor'] = 2.0
  with pytest.raises(errors.InputError, match='rope_scaling'):
    hf_config.parse_config(config)


@pytest.mark.parametrize(
  'base, change',
  [
    ('gemma', {'attention_softcap': 4.0}),
    ('gemma', {'query_scale': 0.3}),
    ('gemma2', {'query_scale': 0.3}),
    ('gemma2', {'local_rope_base': 7.0}),
    ('llama', {'scaled_embedding': True}),
    ('llama', {'final_softcap': 3.0}),
  ],
)
def test_a_size_that_no_family_has_is_not_written(base, change):
  size = dataclasses.replace(families.ALL[base], **change)
  with pytest.raises(errors.InputError, match=next(iter(change))):
    hf_config.render_config(size, rows=size.vocabulary, dtype='float32')


def test_untied_and_old_style_defaults():
  assert not hf_config.parse_config({'model_type': 'llama'}).tied
  gemma2 = hf_config.parse_config({'model_type': 'gemma2'})
  assert (gemma2.attention_softcap, gemma2.pattern) == (50.0, 'lg')
  gemma3 = hf_config.parse_config(
    {'model_type': 'gemma3_text', 'sliding_window': 5}
  )
  assert (gemma3.local_rope_base, gemma3.rope_base) == (1e4, 1e6)
  null = {'model_type': 'gemma2', 'attn_logit_softcapping': None}
  assert hf_config.parse_config(null).attention_softcap == 0


GEMMA3_TEXT = GEMMA3_4B['text_config']


@pytest.mark.parametrize(
  'outer, inner, tied',
  [
    ({}, {}, True),
    ({'tie_word_embeddings': False}, {}, False),
    ({'tie_word_embeddings': False}, {'tie_word_embeddings': True}, False),
    ({}, {'tie_word_embeddings': False}, True),
  ],
)
def test_the_outer_level_says_whether_the_embedding_is_tied(outer, inner, tied):
  config = GEMMA3_4B | outer | {'text_config': GEMMA3_TEXT | inner}
  assert hf_config.parse_config(config).tied == tied


def test_quantised_weights_are_refused_at_either_level():
  note = {
    'quantization_config': {'quant_method': 'bitsandbytes', 'x': [1] * 99}
  }
  for config in (
    GEMMA_2B | note,
    GEMMA3_4B | note,
    GEMMA3_4B | {'text_config': GEMMA3_TEXT | note},
  ):
    with pytest.raises(errors.InputError) as e:
      hf_config.parse_config(config)
    assert 'the weights are quantised (bitsandbytes)' in str(e.value)
    assert len(str(e.value)) < 200


@pytest.mark.parametrize(
  'config, said',
  [
    (
      GEMMA_2B | {'hidden_activation': 'silu'},
      "hidden_activation='silu' and hidden_act='gelu_pytorch_tanh' contradict",
    ),
    (
      LLAMA_32_1B
      | {'rope_parameters': LLAMA_32_1B['rope_scaling'] | {'factor': 8.0}},
      'rope_scaling=.* and rope_parameters=.* contradict',
    ),
    (LLAMA_32_1B | {'partial_rotary_factor': 0.5}, 'partial_rotary_factor=0.5'),
  ],
)
def test_fields_that_contradict_each_other_are_named(config, said):
  with pytest.raises(errors.InputError, match=said):
    hf_config.parse_config(config)


def test_a_field_that_transformers_does_not_read_decides_nothing():
  size = hf_config.parse_config(LLAMA_32_1B)
  assert (
    hf_config.parse_config(LLAMA_32_1B | {'hidden_activation': 'relu'}) == size
  )
  gemma3 = GEMMA3_TEXT | {'hidden_act': 'silu'}
  assert hf_config.parse_config(gemma3) == hf_config.parse_config(GEMMA3_TEXT)


@pytest.mark.parametrize('name', PUBLISHED)
def test_what_was_published_is_written_as_it_was(name):
  config, rows = PUBLISHED[name]
  config = config | {'max_position_embeddings': 2048, 'eos_token_id': [1, 5]}
  size = hf_config.parse_config(config)
  written = hf_config.render_config(
    size, rows=rows, dtype='float32', published=config
  )
  changed = {
    key: value for key, value in written.items() if config.get(key) != value
  }
  if name == 'gemma3_4b':  # its text tower is written by itself
    assert written == GEMMA3_TEXT | {
      'architectures': ['Gemma3ForCausalLM'],
      'eos_token_id': [1, 5],
      'tie_word_embeddings': True,
      'torch_dtype': 'float32',
      'vocab_size': 262_208,
    }
  elif name == 'gemma4_31b':
    assert written == GEMMA4_31B['text_config'] | {
      'architectures': ['Gemma4ForCausalLM'],
      'eos_token_id': [1, 5],
      'tie_word_embeddings': True,
      'torch_dtype': 'float32',
      'vocab_size': 262_144,
    }
  elif 'architectures' in config:
    assert changed == {'torch_dtype': 'float32'}
  else:
    assert changed == {
      'torch_dtype': 'float32',
      'architectures': ['LlamaForCausalLM'],
    }


def test_the_12b_has_a_type_of_its_own_and_the_same_text_tower():
  inner = GEMMA4_31B['text_config'] | {'model_type': 'gemma4_unified_text'}
  del inner['hidden_size_per_layer_input']  # it has no such field
  config = GEMMA4_31B | {'model_type': 'gemma4_unified', 'text_config': inner}
  size = hf_config.parse_config(config)
  assert size == catalog.CATALOG['gemma4_31b']
  written = hf_config.render_config(
    size, rows=262_144, dtype='float32', published=config
  )
  assert written['model_type'] == 'gemma4_unified_text'
  assert written['architectures'] == ['Gemma4UnifiedForCausalLM']


@pytest.mark.parametrize(
  'change, named',
  [
    (
      {'hidden_size_per_layer_input': 256},
      'hidden_size_per_layer_input=256 (per-layer embeddings, as in E2B and ',
    ),
    ({'num_kv_shared_layers': 18}, 'num_kv_shared_layers=18 (layers that'),
    ({'enable_moe_block': True}, 'enable_moe_block=True (experts, as in 26B'),
    ({'use_bidirectional_attention': 'all'}, "attention='all'"),
    ({'layer_types': ['full_attention'] * 60}, 'layer_types'),
    ({'per_layer_config': {'5': {'head_dim': 512}}}, 'per_layer_config'),
    ({'rope_parameters': {'rope_theta': 1e4}}, 'rope_parameters'),
  ],
)
def test_another_gemma_4_is_told_what_is_supported(change, named):
  inner = GEMMA4_31B['text_config'] | change
  with pytest.raises(errors.InputError) as e:
    hf_config.parse_config(GEMMA4_31B | {'text_config': inner})
  assert named in str(e.value)
  assert str(e.value).endswith(
    'is not supported; supported of Gemma 4 are dense text towers, those of '
    '12B and 31B'
  )


def test_the_last_layer_of_gemma_4_is_global_whatever_is_written():
  """transformers makes it so, with a warning."""
  inner = GEMMA4_31B['text_config'] | {'num_hidden_layers': 8}
  size = hf_config.parse_config(inner)
  assert size.pattern == 'lllllglg'
  types = ['sliding_attention', 'full_attention'] * 4
  types[-1] = 'sliding_attention'
  inner = inner | {'layer_types': types}
  assert hf_config.parse_config(inner).pattern == 'lg'
