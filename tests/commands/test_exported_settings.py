"""What a policy's folder says of it: what its base came with, and its own."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from restpg_jax import config, restpg
from restpg_jax.io import artifacts, checkpoints, records, weights
from restpg_jax.stages import base
from tests import pipeline, tiny
from tests.commands import exports


def odd_base(path):
  """The bundled base as a Hugging Face folder that says more of itself."""
  exports.export('tiny_pt', path)
  for name, more in (
    ('config.json', exports.ODD_CONFIG),
    ('generation_config.json', exports.ODD_GENERATION),
  ):
    (path / name).write_text(json.dumps(exports.read(path / name) | more))
  return path


@pytest.mark.slow
def test_a_policy_goes_out_with_what_its_base_came_with(tmp_path):
  came = odd_base(tmp_path / 'came')
  cfg = pipeline.small(methods=('sft',))
  cfg.policy.checkpoint = str(came)
  with pytest.raises(artifacts.Until):
    restpg.run_methods(cfg, tmp_path / 'work', until='sft')
  before = [
    exports.read(came / n) for n in ('config.json', 'generation_config.json')
  ]
  shutil.rmtree(came)
  for n, pattern in enumerate(('base-*', 'sft/train-*', 'sft/choose-*')):
    (stage,) = (tmp_path / 'work').glob(pattern)
    out = tmp_path / f'out{n}'
    exports.export(stage, out)
    after = [
      exports.read(out / n) for n in ('config.json', 'generation_config.json')
    ]
    assert after == before, pattern


def test_an_older_run_takes_it_from_its_base_if_that_is_there(
  workdir, tmp_path
):
  came = odd_base(tmp_path / 'came')
  policy = workdir / 'sft' / 'choose-a'
  params, size = weights.load_weights(came)
  checkpoints.save_model(policy / 'model', params, size)
  done = records.read_json(policy / 'DONE.json')
  done['cfg']['tokenizer']['checkpoint'] = str(came)
  records.write_json(policy / 'DONE.json', done)
  exports.export(policy, tmp_path / 'with')
  assert exports.read(tmp_path / 'with/config.json') == exports.read(
    came / 'config.json'
  )
  shutil.rmtree(came)
  exports.export(policy, tmp_path / 'without')
  described = exports.read(tmp_path / 'without/config.json')
  assert described['max_position_embeddings'] == 8192
  assert described['eos_token_id'] == 1


def test_a_policy_ends_with_the_token_that_it_was_trained_to_end_with(tmp_path):
  came = odd_base(tmp_path / 'came')
  other = {'eos_token_id': 5}
  for name in ('config.json', 'generation_config.json'):
    (came / name).write_text(json.dumps(exports.read(came / name) | other))
  base.load_base(
    out=tmp_path / 'base',
    cfg=config.Model(str(came), 'tiny.spm.model'),
    layout=tiny.layout(),
  )
  exports.export(tmp_path / 'base' / 'model', tmp_path / 'policy')
  for name in ('config.json', 'generation_config.json'):
    assert exports.read(tmp_path / 'policy' / name)['eos_token_id'] == [5, 1]
  exports.export(came, tmp_path / 'converted')
  assert exports.read(tmp_path / 'converted/config.json')['eos_token_id'] == 5


def test_a_head_of_its_own_goes_out_as_one(tmp_path):
  came = odd_base(tmp_path / 'came')
  params, size = weights.load_weights(came)
  untied = dataclasses.replace(size, tied=False)
  head = params['embedding'] + 1
  checkpoints.save_model(tmp_path / 'm', params | {'head': head}, untied)
  exports.export(tmp_path / 'm', tmp_path / 'two')
  described = exports.read(tmp_path / 'two/config.json') | {
    'tie_word_embeddings': True
  }
  (tmp_path / 'two/config.json').write_text(json.dumps(described))
  exports.export(tmp_path / 'two', tmp_path / 'out')
  assert not exports.read(tmp_path / 'out/config.json')['tie_word_embeddings']
  np.testing.assert_array_equal(
    weights.load_weights(tmp_path / 'out')[0]['head'], head
  )


def test_a_chat_template_is_kept_where_the_rest_must_be_made(tmp_path):
  folder = tmp_path / 'came'
  folder.mkdir()
  (folder / 'tokenizer.model').write_bytes(exports.TOKENIZER.read_bytes())
  slow = {'tokenizer_class': 'GemmaTokenizer', 'chat_template': '{{ bos }}'}
  (folder / 'tokenizer_config.json').write_text(json.dumps(slow))
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  exports.export(source, tmp_path / 'hf', tokenizer=str(folder))
  written = exports.read(tmp_path / 'hf/tokenizer_config.json')
  assert written['chat_template'] == '{{ bos }}'
  assert written['tokenizer_class'] == 'PreTrainedTokenizerFast'
  assert (tmp_path / 'hf/tokenizer.json').exists()
