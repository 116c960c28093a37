"""Stores of samples and scores: damaged, extended, drawn in rounds, killed."""

import dataclasses
import json
import shutil

import pytest

from restpg_jax import config, errors, restpg
from restpg_jax.io import artifacts, records
from tests import pipeline

pytestmark = pytest.mark.slow


def e_step(workdir, cfg=None) -> dict[str, bytes]:
  """Runs the first E-step; 'draw/trajectories.jsonl' -> bytes, and so on.

  Of several folders of a name, the last made. Without reasoning: a policy so
  little trained has no marker, and all rewards would be 0.
  """
  cfg = dataclasses.replace(cfg or pipeline.small(), methods=('rest_em',))
  with pytest.raises(artifacts.Until):
    restpg.run_methods(cfg, workdir, until='e_step1')
  files = sorted(
    workdir.glob('e_step1/*/*.jsonl'), key=lambda p: p.stat().st_mtime_ns
  )
  return {
    f'{p.parent.name.split("-")[0]}/{p.name}': p.read_bytes()
    for p in files
    if p.name not in ('metrics.jsonl', 'goodput.jsonl')  # times
  }


@pytest.fixture(scope='module')
def sampled(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('sampled')
  e_step(workdir)
  return workdir


def copied(workdir, tmp_path, *without):
  """A workdir beside it, without what these patterns name."""
  ignored = shutil.ignore_patterns(*without)
  return shutil.copytree(workdir, tmp_path / 'copy', ignore=ignored)


def damage(path, numbers):
  """Changes a letter in the middle of each of these lines."""
  lines = path.read_bytes().splitlines(keepends=True)
  for number in numbers:
    line = bytearray(lines[number - 1])
    line[len(line) // 2] ^= 1
    lines[number - 1] = bytes(line)
  path.write_bytes(b''.join(lines))


def test_damage_in_the_middle_of_a_shard_costs_only_what_it_hit(
  sampled, tmp_path
):
  workdir = copied(sampled, tmp_path)
  for name in ('DONE.json', 'trajectories.jsonl', 'scored.jsonl'):
    for path in workdir.glob(f'e_step1/*/{name}'):
      path.unlink()
  (drawn,) = workdir.glob('e_step1/draw-*/drawn/00000.jsonl')
  (rewards,) = workdir.glob('e_step1/score-*/rewards/00000.jsonl')
  lines = {path: path.read_bytes().splitlines() for path in (drawn, rewards)}
  damage(drawn, [3, 17, 18])
  damage(rewards, [5])
  with pytest.warns(errors.DataWarning) as caught:
    found = e_step(workdir)
  assert [str(w.message) for w in caught] == [
    f'{drawn}, lines 3, 17-18: damaged and dropped; 3 items are made again',
    f'{rewards}, line 5: damaged and dropped; 1 item is made again',
  ]
  assert found == e_step(sampled)
  for path, before in lines.items():  # made again, behind the others
    after = path.read_bytes().splitlines()
    assert sorted(after) == sorted(before)
    assert after != before


def drawing(m, rounds=(), **rule):
  """One shape for all m, so that every bit of the samples is the same."""
  rule = {'rule': 'best', 'floor': 0.0} | rule
  return pipeline.small(
    draw=config.Draw(m=m, rounds=rounds),
    select=config.Select(**rule),
    compute=config.Compute(prompts=4, samples=2, judged=8, log_every=2),
  )


def test_a_larger_m_draws_only_what_is_missing_and_a_smaller_one_stays(
  sampled, tmp_path, capsys
):
  whole = e_step(copied(sampled, tmp_path / '1', 'e_step1'), drawing(4))
  workdir = copied(sampled, tmp_path / '2', 'e_step1')
  few = e_step(workdir, drawing(2))
  more = e_step(workdir, drawing(4))
  for name in ('draw/trajectories', 'score/scored', 'select/trajectories'):
    assert more[f'{name}.jsonl'] == whole[f'{name}.jsonl']
  assert few['draw/trajectories.jsonl'] != more['draw/trajectories.jsonl']
  folders = sorted(p.name.split('-')[0] for p in workdir.glob('e_step1/*'))
  assert folders == ['draw', 'score', 'select', 'select']
  (drawn,) = workdir.glob('e_step1/draw-*/drawn/00000.jsonl')
  of = [json.loads(line) for line in drawn.read_text().splitlines()]
  assert len(of) == len({(t['example_id'], t['j']) for t in of}) == 64
  assert [t['j'] < 2 for t in of] == [True] * 32 + [False] * 32
  capsys.readouterr()
  e_step(workdir, drawing(2))
  lines = capsys.readouterr().out.splitlines()
  assert all(' kept ' in line for line in lines[1:])


def test_a_kill_while_extending_keeps_the_earlier_extent_and_is_gone_on_from(
  sampled, tmp_path, monkeypatch
):
  whole = e_step(copied(sampled, tmp_path / '1', 'e_step1'), drawing(4))
  workdir = copied(sampled, tmp_path / '2', 'e_step1')
  few = e_step(workdir, drawing(2))
  pipeline.kill_at_write(monkeypatch, 3)
  with pytest.raises(KeyboardInterrupt):
    e_step(workdir, drawing(4))
  monkeypatch.undo()
  assert e_step(workdir, drawing(2)) == few
  more = e_step(workdir, drawing(4))
  for name in ('draw/trajectories', 'score/scored', 'select/trajectories'):
    assert more[f'{name}.jsonl'] == whole[f'{name}.jsonl']


def test_a_smaller_m_of_a_wider_store_keeps_what_it_would_keep_alone(
  sampled, tmp_path
):
  alone = e_step(copied(sampled, tmp_path / '1', 'e_step1'), drawing(2))
  workdir = copied(sampled, tmp_path / '2', 'e_step1')
  e_step(workdir, drawing(4))
  found = e_step(workdir, drawing(2))
  name = 'select/trajectories.jsonl'
  assert found[name] == alone[name]


def test_rounds_keep_the_same_bytes_and_save_samples(sampled, tmp_path, capsys):
  rule = {'rule': 'threshold', 'threshold': 0.15, 'limit': 2}
  workdir = copied(sampled, tmp_path, 'e_step1')
  rounds = e_step(workdir, drawing(6, (2, 4, 6), **rule))
  out = capsys.readouterr().out
  whole = e_step(workdir, drawing(6, **rule))
  name = 'select/trajectories.jsonl'
  assert rounds[name] == whole[name]
  drawn = [
    records.read_json(path)['summary']
    for n in ('', '_2', '_3')
    for path in workdir.glob(f'e_step1/draw{n}-*/DONE.json')
  ]
  assert drawn[0]['made'] == 6 * 16  # by then whole, in the same store
  for summary in drawn[1:]:
    assert summary['made'] + summary['saved'] == 2 * 16
    assert summary['made'] > 0 and summary['saved'] > 0
    assert f', {summary["saved"]} saved, items per s ' in out


def test_a_round_with_nothing_left_to_draw_is_empty(sampled, tmp_path):
  rule = {'rule': 'threshold', 'threshold': 0.0, 'limit': 2, 'distinct': False}
  workdir = copied(sampled, tmp_path, 'e_step1')
  found = e_step(workdir, drawing(4, (2, 4), **rule))
  assert found['draw_2/trajectories.jsonl'] == b''
  assert found['score_2/scored.jsonl'] == b''
  assert found['select/trajectories.jsonl'] == found['score/scored.jsonl']
