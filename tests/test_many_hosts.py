"""The whole run over several processes equals that of one."""

import json

import jax
import numpy as np
import pytest

from restpg_jax.io import checkpoints
from tests import many

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """The same run by 1 process with 2 devices, and by 2 with 1 each."""
  folder = tmp_path_factory.mktemp('hosts')
  (folder / 'x.py').write_text(many.SMALL)
  ended = {}
  for count in (1, 2):
    flags = [f'--config={folder / "x.py"}', f'--workdir={folder / str(count)}']
    ended[count] = many.run(flags, count=count, devices=2 // count)
    for code, _, err in ended[count]:
      assert code == 0, err
  return folder / '1', folder / '2', ended


def lines(workdir, pattern):
  """Of all files: their lines, without log-probabilities."""
  found = {}
  for path in sorted(workdir.glob(pattern)):
    items = map(json.loads, path.read_text().splitlines())
    found[str(path.relative_to(workdir))] = [
      {k: v for k, v in item.items() if k not in ('logp', 'crc')}
      for item in items
    ]
  return found


def test_texts_scores_and_choices_are_the_same(runs):
  one, two, _ = runs
  for name in ('trajectories', 'scored', 'measured', 'examples'):
    alone = lines(one, f'**/{name}.jsonl')
    assert alone
    assert alone == lines(two, f'**/{name}.jsonl')


def test_reasoning_of_the_same_weights_is_the_same_to_the_last_bit(runs):
  one, two, _ = runs
  logp = [
    sorted(
      (item['example_id'], item['j'], item['text'], item['logp'])
      for path in workdir.glob('reason-*/drawn/*.jsonl')
      for item in map(json.loads, path.read_text().splitlines())
    )
    for workdir in (one, two)
  ]
  assert len(logp[0]) == 16
  assert logp[0] == logp[1]


def test_weights_agree_but_for_the_order_of_sums(runs):
  one, two, _ = runs
  paths = sorted(one.glob('*/choose-*/model/params'))
  assert len(paths) == 2
  for path in paths:
    alone, shared = (
      checkpoints.load_tree(workdir / path.relative_to(one))
      for workdir in (one, two)
    )
    for a, b in zip(*map(jax.tree.leaves, (alone, shared)), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(a).max())


def test_each_host_has_drawn_its_share_and_no_sample_is_there_twice(runs):
  _, two, _ = runs
  (folder,) = two.glob('e_step1/draw-*/drawn')
  shares = [
    [(item['example_id'], item['j']) for item in map(json.loads, text)]
    for text in (
      path.read_text().splitlines() for path in sorted(folder.iterdir())
    )
  ]
  assert [path.name for path in sorted(folder.iterdir())] == [
    '00000.jsonl',
    '00001.jsonl',
  ]
  examples = [{example for example, _ in share} for share in shares]
  assert examples[0] and examples[1]
  assert not examples[0] & examples[1]
  drawn = sorted(shares[0] + shares[1])
  assert len(drawn) == len(set(drawn)) == 64


def test_the_first_host_tells_and_the_others_are_silent(runs):
  _, _, ended = runs

  def words(text):
    """The first word of each line, but for what the runtime prints."""
    told = (line.split()[:1] for line in text.splitlines())
    return [word for word in told if word != ['[Gloo]']]

  (_, first, _), (_, second, _) = ended[2]
  assert 'report: ' in first
  assert words(second) == []
  assert words(first) == words(ended[1][0][1])


SWEEP = """
from tests import pipeline

def get_config():
  return pipeline.small(methods=('sft', 'rest_em'))

def sweep():
  return [{'seed': 0}, {'seed': 1}]
"""


def test_members_of_a_sweep_meet_at_barriers_of_their_own(tmp_path):
  (tmp_path / 'x.py').write_text(SWEEP)
  flags = ['sweep', f'--config={tmp_path / "x.py"}', '--until=sft/train']
  first, second = many.run(
    [*flags, f'--workdir={tmp_path / "w"}'], count=2, devices=1
  )
  assert [first[0], second[0]] == [0, 0], (first[2], second[2])
  lines = first[1].splitlines()
  assert [line for line in lines if line.startswith('member ')][:2] == [
    'member 0, 1 of 2: seed 0',
    'member 1, 2 of 2: seed 1',
  ]
  assert [line.split()[-1] for line in lines[-2:]] == ['stopped', 'stopped']
  names = [
    p.parent.name.split('-')[0] for p in (tmp_path / 'w').glob('**/DONE.json')
  ]
  assert (names.count('test'), names.count('train')) == (1, 1 + 2)
