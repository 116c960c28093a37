"""Small tokenizer.json files in the forms of five families, made here.

Each is the file's content and the notes beside it, as FastTokenizer takes them.
"""

import functools
import json

import tokenizers
from tokenizers import (
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
  trainers,
)
from tokenizers.implementations import bert_wordpiece

from restpg_jax import assets
from restpg_jax.text import sentencepiece_model, tokenizer_json

TEXTS = (
  'The trip in 2024 needs speed, and the user wrote 10 letters about it.',
  "She said it's a café; naïve Straße 100 % sure, 猫 and 🐈 are here.",
  'def f(x):\n    return x + 1\n\n\nScore: 7 of 10, 3,141,592 in [1999].',
  'begin of text, end of turn, user and model, think, tool call, unused 0.',
) * 8
LLAMA = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
QWEN = LLAMA.replace('{1,3}', '')


@functools.cache
def made(name: str) -> tuple[bytes, dict]:
  return FAMILIES[name]()


def gemma_unigram():
  """The bundled SentencePiece model."""
  return _gemma(assets.path('tiny.spm.model').read_bytes())


def gemma_bpe():
  """The same pieces, joined by score."""
  content = assets.path('tiny.spm.model').read_bytes()
  proto = sentencepiece_model.ModelProto.FromString(content)
  proto.trainer_spec.model_type = proto.trainer_spec.BPE
  return _gemma(proto.SerializeToString())


def _gemma(proto):
  files = tokenizer_json.files(proto)
  config = files.pop('tokenizer_config.json')
  return json.dumps(files['tokenizer.json']).encode(), {
    'tokenizer_config.json': config,
  }


def llama3():
  bos, eos = '<|begin_of_text|>', '<|end_of_text|>'
  model = _byte_level(
    [pre_tokenizers.Split(tokenizers.Regex(LLAMA), 'isolated')],
    special=[
      *(bos, eos, '<|eot_id|>', '<|start_header_id|>', '<|end_header_id|>'),
      '<|reserved_0|>',
    ],
    ignore_merges=True,
  )
  model.post_processor = processors.Sequence(
    [
      processors.ByteLevel(trim_offsets=False),
      processors.TemplateProcessing(
        single=f'{bos} $A', special_tokens=[(bos, model.token_to_id(bos))]
      ),
    ]
  )
  config = {'bos_token': bos, 'eos_token': eos}
  return _with(model, config | {'clean_up_tokenization_spaces': True})


def qwen():
  model = _byte_level(
    [pre_tokenizers.Split(tokenizers.Regex(QWEN), 'isolated')],
    special=['<|endoftext|>', '<|im_start|>', '<|im_end|>'],
    others=['<think>', '</think>', '<tool_call>'],
  )
  model.normalizer = normalizers.NFC()
  return _with(
    model,
    {
      'bos_token': None,
      'eos_token': '<|im_end|>',
      'pad_token': '<|endoftext|>',
      'add_bos_token': True,  # transformers follows tokenizer.json
    },
  )


def smollm2():
  unseen = {'Ć', 'Ą', 'ñ', 'ò', 'À'}  # bytes that it has no token for
  model = _byte_level(
    [pre_tokenizers.Digits(individual_digits=True)],
    special=['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<repo_name>'],
    without=unseen,
    use_regex=True,
  )
  token = {'bos': '<|im_start|>', 'eos': '<|im_end|>', 'pad': '<|im_end|>'}
  notes = {f'{name}_token': {'content': piece} for name, piece in token.items()}
  return _content(model), {'special_tokens_map.json': notes}


def bert():
  """Word pieces, of which only encoders can read."""
  words = bert_wordpiece.BertWordPieceTokenizer(lowercase=True)
  words.train_from_iterator(TEXTS, vocab_size=300, show_progress=False)
  return words.to_str().encode(), {
    'tokenizer_config.json': {'sep_token': '[SEP]', 'cls_token': '[CLS]'}
  }


FAMILIES = {
  f.__name__: f for f in (gemma_unigram, gemma_bpe, llama3, qwen, smollm2, bert)
}


def _byte_level(
  splits,
  *,
  special,
  others=(),
  without=(),
  ignore_merges=False,
  use_regex=False,
):
  model = tokenizers.Tokenizer(models.BPE(ignore_merges=ignore_merges))
  byte_level = pre_tokenizers.ByteLevel(
    add_prefix_space=False, use_regex=use_regex
  )
  model.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
  model.decoder = decoders.ByteLevel()
  letters = sorted({*pre_tokenizers.ByteLevel.alphabet()} - {*without})
  trainer = trainers.BpeTrainer(
    vocab_size=420, initial_alphabet=letters, show_progress=False
  )
  model.train_from_iterator(TEXTS, trainer)
  model.add_special_tokens([*special])
  model.add_tokens([*others])
  return model


def _with(model, config):
  return _content(model), {'tokenizer_config.json': config}


def _content(model) -> bytes:
  return model.to_str().encode()
