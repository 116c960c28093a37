"""The examples run, on a run that is finished."""

import json
import pathlib
import runpy
import subprocess
import sys

import pytest

import restpg_jax
from restpg_jax import api, cli, config, errors, restpg
from tests import pipeline, runs

EXAMPLE = pathlib.Path(__file__).parents[1] / 'examples' / 'use_from_python.py'


@pytest.mark.slow
def test_a_finished_run_is_used_from_python(tmp_path, capsys):
  cfg = pipeline.small(methods=('sft_reasoning',))
  results = restpg_jax.run(cfg, tmp_path)
  assert results == restpg_jax.read_results(tmp_path)
  capsys.readouterr()
  runpy.run_path(str(EXAMPLE))['main'](str(tmp_path))
  out = capsys.readouterr().out
  macro = results['methods']['sft_reasoning']['macro']
  assert out.startswith(
    f'sft_reasoning, iteration 0: reward {macro["reward"]:.3f} '
    f'+- {macro["reward_stderr"]:.3f}\nreasoning: '
  )
  assert '\nanswer: ' in out


def test_the_example_is_short():
  assert len(EXAMPLE.read_text().splitlines()) <= 40


def test_texts_of_rows_come_in_their_order(tmp_path):
  workdir = runs.chosen(tmp_path / 'work')
  rows = [{'id': id, 'input': 'Hi', 'profile': ['Ö, a text.']} for id in 'ab']
  texts = restpg_jax.generate(workdir, rows, method='rest_pg')
  assert [text['id'] for text in texts] == ['a', 'b']
  assert list(texts[0]) == ['id', 'task', 'reasoning', 'answer', 'ended']


def test_a_run_without_a_report_is_told(tmp_path):
  with pytest.raises(errors.InputError, match='results.json is not there'):
    restpg_jax.read_results(tmp_path)


def test_what_is_offered_is_what_the_package_has():
  assert restpg_jax.Config is config.Config
  assert restpg_jax.load_config is cli.load_config
  assert [getattr(restpg_jax, name) for name in restpg_jax.OFFERED] == [
    getattr(api, name) for name in restpg_jax.OFFERED
  ]
  assert {*restpg_jax.OFFERED} <= {*dir(restpg_jax)}
  with pytest.raises(AttributeError, match="no attribute 'nothing'"):
    _ = restpg_jax.nothing
  assert restpg_jax.restpg is restpg  # rooms are found as ever


def imported(module: str) -> set[str]:
  """Returns all modules that importing one imports."""
  program = f'import sys, json, {module}; print(json.dumps([*sys.modules]))'
  out = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  ).stdout
  return {*json.loads(out)}


@pytest.mark.slow
def test_importing_the_package_is_cheap():
  assert not {'numpy', 'jax', 'absl', 'etils'} & imported('restpg_jax')


@pytest.mark.slow
def test_a_run_begins_without_the_libraries_of_its_metrics_and_report():
  late = {'nltk', 'sklearn', 'pandas', 'scipy.stats', 'matplotlib'}
  assert not late & imported('restpg_jax.restpg')
