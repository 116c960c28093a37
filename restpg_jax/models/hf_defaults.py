"""What transformers calls models, and assumes where a config.json is silent."""

TANH = 'gelu_pytorch_tanh'
_GEMMA = {
  'vocab_size': 256_000,
  'head_dim': 256,
  'rms_norm_eps': 1e-6,
  'tie_word_embeddings': True,
  'rope_theta': 10_000.0,
  'max_position_embeddings': 8192,
}
_GEMMA2 = _GEMMA | {
  'hidden_size': 2304,
  'intermediate_size': 9216,
  'num_hidden_layers': 26,
  'num_attention_heads': 8,
  'num_key_value_heads': 4,
  'hidden_activation': TANH,
  'query_pre_attn_scalar': 256,
  'sliding_window': 4096,
}
_QWEN = {
  'vocab_size': 151_936,
  'hidden_size': 4096,
  'intermediate_size': 22_016,
  'num_hidden_layers': 32,
  'num_attention_heads': 32,
  'num_key_value_heads': 32,
  'hidden_act': 'silu',
  'rms_norm_eps': 1e-6,
  'tie_word_embeddings': False,
  'rope_theta': 10_000.0,
  'max_position_embeddings': 32_768,
  'use_sliding_window': False,
  'sliding_window': 4096,
  'max_window_layers': 28,
}
_GEMMA4 = {
  'vocab_size': 262_144,
  'hidden_size': 2304,
  'intermediate_size': 9216,
  'num_hidden_layers': 30,
  'num_attention_heads': 8,
  'num_key_value_heads': 4,
  'head_dim': 256,
  'hidden_activation': TANH,
  'rms_norm_eps': 1e-6,
  'tie_word_embeddings': True,
  'sliding_window_pattern': 6,
}
DEFAULTS = {  # by model_type; published files leave such fields out
  'gemma': _GEMMA
  | {
    'hidden_size': 3072,
    'intermediate_size': 24576,
    'num_hidden_layers': 28,
    'num_attention_heads': 16,
    'num_key_value_heads': 16,
    'hidden_act': TANH,
  },
  'gemma2': _GEMMA2
  | {
    'attn_logit_softcapping': 50.0,
    'final_logit_softcapping': 30.0,
    'sliding_window_pattern': 2,
  },
  'gemma3_text': _GEMMA2
  | {
    'vocab_size': 262_208,
    'rope_theta': 1_000_000.0,
    'rope_local_base_freq': 10_000.0,
    'sliding_window_pattern': 6,
    'max_position_embeddings': 131_072,
  },
  'gemma4_text': _GEMMA4
  | {
    'hidden_size_per_layer_input': 256,
    'sliding_window': 512,
    'max_position_embeddings': 131_072,
  },
  'gemma4_unified_text': _GEMMA4
  | {'sliding_window': 1024, 'max_position_embeddings': 262_144},
  'llama': {
    'vocab_size': 32_000,
    'hidden_size': 4096,
    'intermediate_size': 11008,
    'num_hidden_layers': 32,
    'num_attention_heads': 32,
    'hidden_act': 'silu',
    'rms_norm_eps': 1e-6,
    'tie_word_embeddings': False,
    'rope_theta': 10_000.0,
    'max_position_embeddings': 131_072,
  },
  'qwen2': _QWEN,
  'qwen3': _QWEN | {'head_dim': 128},
}
ARCHITECTURES = {
  'gemma': 'GemmaForCausalLM',
  'gemma2': 'Gemma2ForCausalLM',
  'gemma3_text': 'Gemma3ForCausalLM',
  'gemma4_text': 'Gemma4ForCausalLM',
  'gemma4_unified_text': 'Gemma4UnifiedForCausalLM',
  'llama': 'LlamaForCausalLM',
  'qwen2': 'Qwen2ForCausalLM',
  'qwen3': 'Qwen3ForCausalLM',
}
