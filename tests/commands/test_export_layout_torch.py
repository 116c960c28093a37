"""What `convert` writes has the layout that transformers and vLLM read.

vLLM is not here: what it takes of a folder is `architectures` of config.json,
safetensors by their index, the tokenizer's files with the chat template, and
generation_config.json, all of them by transformers' own classes.
"""

import json

import pytest
import safetensors

from restpg_jax.engines import tokenizer_files
from restpg_jax.io import tensors
from restpg_jax.text import turns
from tests.commands import exports
from tests.models import families

transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('name', families.ALL)
def test_every_file_is_found_and_says_the_same(name, tmp_path, monkeypatch):
  size, out = exports.sizes()[name], tmp_path / 'out'
  whole = tensors.write_tensors
  monkeypatch.setattr(
    tensors, 'write_tensors', lambda *args: whole(*args, shard=100_000)
  )
  exports.export(exports.saved(tmp_path / 'm', size), out)

  described = transformers.AutoConfig.from_pretrained(out)
  (architecture,) = described.architectures
  model = getattr(transformers, architecture)
  assert model.config_class is type(described)
  assert described.vocab_size == exports.VOCABULARY

  index = json.loads((out / 'model.safetensors.index.json').read_text())
  shards = sorted(set(index['weight_map'].values()))
  assert len(shards) > 1
  assert shards == sorted(p.name for p in out.glob('*.safetensors'))
  for shard in shards:
    with safetensors.safe_open(out / shard, 'np') as file:
      names = {n for n, s in index['weight_map'].items() if s == shard}
      assert set(file.keys()) == names
      assert file.metadata() == {'format': 'pt'}
  skeleton = model(described)
  expected = set(skeleton.state_dict())
  if described.tie_word_embeddings:
    expected -= {'lm_head.weight'}
  assert set(index['weight_map']) == expected


def test_tokenizer_chat_template_and_generation(tmp_path):
  out = tmp_path / 'out'
  exports.export(exports.saved(tmp_path / 'm', exports.sizes()['gemma']), out)
  theirs = transformers.AutoTokenizer.from_pretrained(out)
  ours = tokenizer_files.read_tokenizer(out)
  for text in ('Hi, 10 letters.', ' two\n\nlines ', '<end_of_turn>x'):
    ids = theirs.apply_chat_template(
      [{'role': 'user', 'content': text.replace('<', '(')}],
      tokenize=True,
      add_generation_prompt=True,
      return_dict=False,
    )
    chat = turns.of_form(ours, 'gemma')
    assert ids == chat.prompt(ours, text.replace('<', '('))
  generation = transformers.GenerationConfig.from_pretrained(out)
  assert generation.bos_token_id == 2
  assert generation.eos_token_id == [1, 5]  # <eos>, <end_of_turn>
  assert theirs.convert_tokens_to_ids('<end_of_turn>') == 5
