"""Facts about restpg_jax/doctor/inspection.py: present, missing, broken."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from restpg_jax import assets, backends, config, errors, validate
from restpg_jax.doctor import findings, inspection
from restpg_jax.io import checkpoints
from tests.data import longlamp_rows
from tests.io import test_encoders

folder = test_encoders.folder  # a small BERT


def states(found):
  return [(f.name, f.state) for f in found]


def roles(reasoning=True, **changed):
  cfg = dataclasses.replace(config.Config(), **changed)
  return inspection.roles(cfg, reasoning=reasoning)


def policy(checkpoint='tiny_pt', tokenizer='tiny.spm.model'):
  """What is found out about such a policy."""
  model = config.Model(str(checkpoint), str(tokenizer))
  (role,) = roles(False, policy=model, reward=config.Reward('rouge'))
  return list(inspection.inspect_models([role]))


@pytest.fixture
def tiny(tmp_path):
  """A copy of the bundled policy, to be damaged."""
  return shutil.copytree(assets.path('tiny_pt'), tmp_path / 'tiny')


def test_every_check_that_fails_has_its_line():
  cfg = config.Config(
    draw=config.Draw(m=0, top_p=2.0), retrieval=config.Retrieval('tf')
  )
  found = list(inspection.inspect_settings(cfg, validate.PARTS))
  assert [f.said.split(';')[0] for f in found] == [
    'draw.m is 0',
    'draw.top_p is 2',
    "retrieval.name is 'tf'",
  ]
  assert {f.state for f in found} == {'broken'}
  whole = inspection.inspect_settings(config.Config(), validate.PARTS)
  assert states(whole) == [('settings', 'ok')]


def test_each_task_and_split_of_the_data(tmp_path):
  longlamp_rows.folder(tmp_path, name='product_review_user', val=None)
  found = list(inspection.inspect_data(config.Data(path=str(tmp_path))))
  assert states(found) == [
    ('data, email_generation', 'note'),
    ('data, abstract_generation', 'note'),
    ('data, product_review train', 'ok'),
    ('data, product_review val', 'broken'),
    ('data, product_review test', 'ok'),
    ('data, topic_writing', 'note'),
  ]
  assert 'Avocado' in found[0].remedy
  assert found[1].remedy == (
    'hf download LongLaMP/LongLaMP --repo-type=dataset '
    f"--include='abstract_generation_user/*' --local-dir={tmp_path}"
  )
  assert found[2].said == 'train.jsonl'
  assert "no split 'val'" in found[3].said


def test_where_no_data_is_the_public_tasks_are_missing(tmp_path):
  found = inspection.inspect_data(config.Data(path=str(tmp_path / 'none')))
  assert states(found) == [
    ('data, email_generation', 'note'),
    ('data, abstract_generation', 'missing'),
    ('data, product_review', 'missing'),
    ('data, topic_writing', 'missing'),
  ]
  assert states(inspection.inspect_data(config.Data())) == [('data', 'ok')]
  odd = config.Data(path=str(tmp_path), setting='users')
  assert states(inspection.inspect_data(odd)) == [('data', 'broken')]


def test_the_roles_are_those_of_the_run():
  def names(**how):
    return [role.name for role in roles(**how)]

  assert names() == ['policy', 'reasoner', 'judge']
  assert names(reasoning=False) == ['policy', 'judge']
  rouge = config.Reward('rouge')
  assert names(reasoning=False, reward=rouge) == ['policy']


def test_the_bundled_models_are_whole_and_read_once(monkeypatch):
  read = []
  real = inspection._read_whole
  monkeypatch.setattr(
    inspection,
    '_read_whole',
    lambda name, base: read.append(name) or real(name, base),
  )
  found = list(inspection.inspect_models(roles()))
  assert {f.state for f in found} == {'ok'}
  assert read == ['tiny_pt', 'tiny_it']
  assert '885,888 numbers' in found[0].said
  assert '1,024 pieces' in found[1].said
  assert found[4].said == 'those of the reasoner'


def test_a_model_of_the_catalog_that_is_not_there_can_be_had():
  weights, _ = policy('gemma_2b')
  assert weights.state == 'missing'
  assert 'hf download google/gemma-2b --local-dir=DIR' in weights.remedy
  assert '--config.policy.checkpoint=DIR' in weights.remedy
  judge = config.Reward(model=config.Model('gemma_2b'))
  weights, _ = inspection.inspect_models(roles(reward=judge)[2:])
  assert 'google/gemma-2b-it' in weights.remedy
  assert '--config.reward.model.checkpoint=DIR' in weights.remedy
  weights, _ = policy('nowhere')
  assert weights.state == 'missing'
  assert 'README' in weights.remedy


def test_a_damaged_file_of_weights_is_found(tiny):
  for path in tiny.rglob('d/*'):
    path.write_bytes(path.read_bytes()[:-400])
  weights, tokenizer = policy(tiny)
  assert (weights.state, tokenizer.state) == ('broken', 'broken')
  shutil.rmtree(tiny / 'params')
  assert policy(tiny)[0].state == 'broken'


def test_weights_of_another_shape_and_such_that_are_no_numbers(tiny, tmp_path):
  params, size = checkpoints.restore_model(tiny)
  params['final_norm']['scale'][3] = np.nan
  checkpoints.save_model(tmp_path / 'nan', params, size)
  weights, _ = policy(tmp_path / 'nan')
  assert weights.state == 'broken'
  assert 'final_norm/scale holds numbers that are none' in weights.said
  description = json.loads((tiny / 'model.json').read_text())
  description['size']['width'] = 64
  (tiny / 'model.json').write_text(json.dumps(description))
  assert policy(tiny)[0].state == 'broken'


def test_tokenizers_missing_damaged_and_of_another_model(tmp_path):
  _, tokenizer = policy(tokenizer='gemma.model')
  assert tokenizer.state == 'missing'
  assert '--config.policy.tokenizer=DIR' in tokenizer.remedy
  (tmp_path / 'x.model').write_bytes(b'no model')
  weights, tokenizer = policy(tokenizer=tmp_path / 'x.model')
  assert (weights.state, tokenizer.state) == ('ok', 'broken')
  assert 'no usable SentencePiece model' in tokenizer.said
  # Without weights it is looked at by itself.
  assert policy('nowhere')[1].state == 'ok'


def test_prompts_are_tried(tmp_path):
  assert {inspection.inspect_template(r).state for r in roles()} == {'ok'}
  narrow = config.Prompt(max_input=20)
  found = inspection.inspect_template(roles(prompt=narrow)[0])
  assert found.state == 'broken'
  assert 'the limit of its prompt is 20' in found.said
  (tmp_path / 'x.txt').write_text('{% block prompt %}{{ instructions }}')
  odd = config.Prompt(template=str(tmp_path / 'x.txt'))
  assert inspection.inspect_template(roles(prompt=odd)[0]).state == 'broken'
  gone = config.Prompt(template='x.txt')
  assert inspection.inspect_template(roles(prompt=gone)[0]).state == 'broken'
  blind = config.Model(tokenizer='nowhere')
  found = inspection.inspect_template(roles(policy=blind)[0])
  assert found.state == 'ok'
  assert 'without a tokenizer' in found.said


def test_encoders(folder, tmp_path):
  def found(name, *metrics, **own):
    cfg = config.Config(
      retrieval=config.Retrieval('contriever', encoder=name),
      evaluate=config.Evaluate(metrics, **own),
    )
    return list(inspection.inspect_vectors(cfg))

  assert states(found(str(folder))) == [('retrieval, encoder', 'ok')]
  for name in ('', str(tmp_path / 'none')):
    (missing,) = found(name)
    assert missing.state == 'missing'
    assert 'facebook/contriever' in missing.remedy
    assert '--config.retrieval.name=bm25' in missing.remedy
  copy = shutil.copytree(folder, tmp_path / 'copy')
  for path in copy.glob('*.safetensors'):
    path.write_bytes(path.read_bytes()[:-1])
  assert states(found(str(copy))) == [('retrieval, encoder', 'broken')]
  # Of the metric, too: its own or that of retrieval.
  assert len(found(str(folder), 'cosine')) == 1
  both = found(str(folder), 'cosine', encoder='none')
  assert states(both)[1:] == [('evaluate, encoder', 'missing')]
  assert '--config.evaluate.encoder=DIR' in both[1].remedy
  assert list(inspection.inspect_vectors(config.Config())) == []


def test_what_metrics_need(monkeypatch):
  def found(*metrics):
    return states(inspection.inspect_metrics(config.Evaluate(metrics)))

  def absent():
    raise errors.InputError('no data')

  monkeypatch.setattr(inspection.meteor, 'check_wordnet', absent)
  assert found('meteor', 'bleu') == [('metrics, meteor', 'broken')]
  monkeypatch.setattr(inspection.meteor, 'check_wordnet', lambda: None)
  assert found('meteor') == [('metrics, meteor', 'ok')]
  assert found('bleu') == []
  judged = roles(
    reward=config.Reward('rouge'), evaluate=config.Evaluate(('judge',))
  )
  assert [role.name for role in judged][-1] == 'judge'


def test_rewards_of_others():
  def found(name):
    return states(inspection.inspect_reward(config.Reward(name)))

  assert found('judge') == found('rouge') == []
  assert found('tests.pipeline:small') == [('reward', 'ok')]
  for name in ('tests.pipeline:large', 'no_such_package:build', 'rogue'):
    assert found(name) == [('reward', 'broken')]


def test_what_lacks_a_device_says_so(monkeypatch):
  def raises():
    raise AssertionError

  monkeypatch.setattr(backends, 'backend_fault', lambda: 'JAX has no device')
  finding = findings.look('x', raises)
  assert (finding.state, finding.said) == ('broken', 'JAX has no device')


def test_a_look_tells_whose_fault_it_is():
  def raises(error):
    raise error

  look = findings.look
  found = look('x', raises, errors.InputError('a: b;\n c'))
  assert (found.state, found.said) == ('broken', 'a: b; c')
  assert look('x', raises, KeyError('k')).said == "KeyError: 'k'"
