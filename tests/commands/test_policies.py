"""Facts about restpg_jax/commands/policies.py: which weights are meant."""

import shutil

import pytest

from restpg_jax import (
  errors,
)
from restpg_jax.commands import policies
from restpg_jax.io import checkpoints
from tests import tiny


def test_of_a_workdir_it_takes_what_was_finished_last(workdir):
  assert (
    policies.find_policy(str(workdir)).weights == workdir / 'sft/choose-a/model'
  )
  origin = policies.find_policy(str(workdir), 'rest_pg')
  assert origin.weights == workdir / 'm_step1/choose-b/model'
  assert (origin.method['method'], origin.t) == ('rest_pg', 1)
  with pytest.raises(
    errors.InputError, match='finished in .* are rest_pg, sft'
  ):
    policies.find_policy(str(workdir), 'rest_em')


def test_of_a_stage_it_knows_the_run(workdir):
  for name in ('m_step1/choose-b', 'm_step1/choose-b/model'):
    origin = policies.find_policy(str(workdir / name))
    assert origin.weights == workdir / 'm_step1/choose-b/model'
    assert origin.tokenizer == 'tiny.spm.model'
    assert (origin.method['method'], origin.t) == ('rest_pg', 1)
  trained = workdir / 'sft' / 'train-c'
  size = tiny.size()
  for n in (2, 10):
    path = trained / 'checkpoints' / f'step_{n}' / 'model'
    checkpoints.save_model(path, tiny.parameters(size, 0.1), size)
  assert policies.find_policy(str(trained)).weights == path
  with pytest.raises(errors.InputError, match='is no workdir'):
    policies.find_policy(str(trained), 'sft')


def test_a_run_whose_stages_were_removed_is_a_line(workdir):
  shutil.rmtree(workdir / 'm_step1')
  with pytest.raises(errors.InputError, match='of rest_pg are not there any'):
    policies.find_policy(str(workdir), 'rest_pg')
  (workdir / 'eval1' / 'DONE.json').unlink()
  origin = policies.find_policy(str(workdir / 'sft' / 'choose-a'))
  assert (origin.method['method'], origin.t) == ('rest_pg', 0)
