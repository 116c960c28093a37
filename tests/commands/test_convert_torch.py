"""What `convert` writes, opened by `transformers`, and the other way."""

import json

import numpy as np
import pytest

from restpg_jax.io import checkpoints
from restpg_jax.models import decoder, hf_config
from restpg_jax.text import sentencepiece_model
from tests import tiny
from tests.commands import exports, test_convert
from tests.models import families

torch = pytest.importorskip('torch')
transformers = pytest.importorskip('transformers')
pytestmark = pytest.mark.slow


@pytest.mark.parametrize('name', families.ALL)
def test_transformers_opens_it_with_equal_logits(name, tmp_path):
  size = exports.sizes()[name]
  exports.export(exports.saved(tmp_path / 'm', size), tmp_path / 'hf')
  model, info = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'hf', output_loading_info=True
  )
  assert not info['missing_keys'] and not info['unexpected_keys']
  assert model.dtype == torch.float32
  assert model.generation_config.eos_token_id == [1, 5]
  tokens = families.TOKENS[3]
  with torch.no_grad():
    theirs = model(torch.tensor([tokens])).logits[0].numpy()
  params = families.parameters(size)
  ours = decoder.Decoder(size).apply({'params': params}, np.array([tokens]))
  np.testing.assert_allclose(theirs, ours[0], atol=5e-5)
  # what transformers writes itself comes in again, and its logits stay
  model.save_pretrained(tmp_path / 'theirs')
  exports.export(tmp_path / 'theirs', tmp_path / 'once_more')
  again = transformers.AutoModelForCausalLM.from_pretrained(
    tmp_path / 'once_more'
  )
  with torch.no_grad():
    once_more = again(torch.tensor([tokens])).logits[0].numpy()
  np.testing.assert_array_equal(once_more, theirs)


@pytest.mark.parametrize('name', families.ALL)
def test_what_others_say_of_a_model_goes_out_as_it_came_in(name, tmp_path):
  size = exports.sizes()[name]
  config = hf_config.render_config(
    size, rows=exports.VOCABULARY, dtype='bfloat16'
  )
  config = transformers.AutoConfig.for_model(**config | exports.ODD_CONFIG)
  theirs = transformers.AutoModelForCausalLM.from_config(config)
  theirs.generation_config = transformers.GenerationConfig(
    **exports.ODD_GENERATION
  )
  theirs.save_pretrained(tmp_path / 'in')
  exports.export(tmp_path / 'in', tmp_path / 'out')
  before, after = (
    exports.read(tmp_path / n / 'config.json') for n in ('in', 'out')
  )
  assert before.items() >= exports.ODD_CONFIG.items()
  assert after == before | {'dtype': 'float32'}
  generation = [
    (tmp_path / n / 'generation_config.json').read_text() for n in ('in', 'out')
  ]
  assert json.loads(generation[1]) == json.loads(generation[0])
  assert json.loads(generation[1]).items() >= exports.ODD_GENERATION.items()


@pytest.mark.parametrize(
  'path',
  [
    exports.TOKENIZER,
    test_convert.SHARED / 'gemma1.rebuilt.spm.model',
    test_convert.SHARED / 'gemma3.rebuilt.spm.model',
  ],
  ids=lambda path: path.name,
)
def test_autotokenizer_gives_the_same_ids(path, tmp_path):
  if not path.exists():
    pytest.skip(f'{path} is not here')
  ours = sentencepiece_model.SentencePiece(path.read_bytes())
  size = tiny.size(vocabulary=ours.vocab_size, width=8)
  checkpoints.save_model(tmp_path / 'm', tiny.parameters(size, 0.2), size)
  exports.export(tmp_path / 'm', tmp_path / 'hf', tokenizer=str(path))
  theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'hf')
  for text in test_convert.TEXTS:
    ids = theirs(text, add_special_tokens=False)['input_ids']
    assert ids == ours.encode(text), text
    assert theirs(text)['input_ids'] == [ours.bos, *ids]
    assert theirs.decode(ids) == text
  assert theirs.pad_token_id == ours.pad
  assert theirs.eos_token_id == ours.eos
  copied = (tmp_path / 'hf' / 'tokenizer.model').read_bytes()
  assert copied == path.read_bytes()
