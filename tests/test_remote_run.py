"""A whole run in a bucket, on data in a bucket: once, again, and after."""

import contextlib
import itertools
import json
import os
import pathlib
import re
import shutil

import pytest
from etils import epath

from restpg_jax import config, main, restpg
from restpg_jax.data import world
from restpg_jax.report import build
from tests import pipeline, remote
from tests.data import longlamp_rows as given

pytestmark = pytest.mark.slow

WORKDIR, DATA = 'gs://bucket/run', 'gs://bucket/data'
SIZES = {'train': 8, 'val': 2, 'test': 4}
TEMPLATE = pathlib.Path(config.__file__).parent / 'assets/prompts/tiny'


def write(folder: pathlib.Path) -> None:
  """Two tasks in two forms, and a prompt's template."""
  for n, task in enumerate(('product_review', 'topic_writing')):
    for seed, (split, size) in enumerate(SIZES.items()):
      rows = world.rows(task, split, seed=seed, count=size)
      path = folder / f'{task}_user' / f'{split}-0.parquet'
      given.write_parquet(path, rows)
      if n:
        path.unlink()
        path.with_name(f'{split}.jsonl').write_bytes(given.lines(*rows))
  policy = (TEMPLATE / 'policy.txt').read_text()
  (folder / 'policy.txt').write_text(policy)


@pytest.fixture(scope='module')
def here(tmp_path_factory) -> pathlib.Path:
  """data/ and a finished run/ on this machine."""
  folder = tmp_path_factory.mktemp('here')
  write(folder / 'data')
  restpg.run_methods(settings(folder / 'data'), folder / 'run')
  return folder


def settings(folder) -> config.Config:
  cfg = pipeline.small(methods=('rest_pg',))
  cfg.data = config.Data(path=f'{folder}')
  cfg.prompt.template = f'{folder}/policy.txt'
  return cfg


def made(capsys) -> list[str]:
  """The lines of stages that were not kept."""
  return [s for s in capsys.readouterr().out.splitlines() if ' s   ' in s]


def files(folder: pathlib.Path) -> dict[str, bytes]:
  """Of a workdir, all whose bytes depend on no time, place or process."""
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in sorted(folder.rglob('*.jsonl'))
    if path.name not in ('metrics.jsonl', 'goodput.jsonl')
    and 'report' not in path.parts
  }


@pytest.mark.parametrize('kill', [None, 60])
def test_a_run_in_a_bucket_gives_what_one_on_this_machine_gives(
  here, bucket, tmp_path, monkeypatch, capsys, kill
):
  """Also if it is killed at its 60th write and run again."""
  monkeypatch.chdir(tmp_path)
  remote.upload(bucket, here / 'data', DATA)
  cfg = settings(DATA)
  if kill:
    with pytest.raises(KeyboardInterrupt), killed_at_write(bucket, kill):
      restpg.run_methods(cfg, WORKDIR)
  restpg.run_methods(cfg, WORKDIR)
  there = pathlib.Path(bucket.local(WORKDIR))
  assert files(there) == files(here / 'run')
  found = build.build_report(WORKDIR)['methods']
  assert found == build.build_report(here / 'run')['methods']
  assert (there / 'report/index.html').stat().st_size > 10_000
  assert os.listdir() == []  # nothing came here, no folder ./gs:
  # Parts are joined; claims and what was half-written are gone.
  names = [path.name for path in there.rglob('*')]
  odd = re.compile(r'.*\.(tmp|part|partial)|.*-\d{12}\..*|\.lock.*')
  assert [name for name in names if odd.fullmatch(name)] == []

  made(capsys)
  puts = len(bucket.writes)
  restpg.run_methods(cfg, WORKDIR)
  assert made(capsys) == []
  (put,) = (p for p in bucket.writes[puts:] if '.lock' not in p)
  assert re.fullmatch(rf'{WORKDIR}/methods/rest_pg-\w{{12}}\.json\.tmp', put)


def test_a_copy_of_a_bucket_goes_on_and_writes_the_same(
  here, bucket, tmp_path, capsys
):
  """From this machine to the bucket and back; `generate` with both."""
  remote.upload(bucket, here, 'gs://bucket')
  restpg.run_methods(settings(DATA), WORKDIR)
  back = shutil.copytree(bucket.local(WORKDIR), tmp_path / 'back')
  restpg.run_methods(settings(here / 'data'), back)
  assert made(capsys) == []

  rows = [json.dumps({'input': f'{n}', 'profile': ['a']}) for n in range(3)]
  written = []
  for folder in ('gs://bucket', f'{tmp_path}'):
    workdir = WORKDIR if folder == 'gs://bucket' else back
    epath.Path(f'{folder}/in.jsonl').write_text('\n'.join(rows))
    code = main.main(
      [
        'generate',
        f'--workdir={workdir}',
        f'--input={folder}/in.jsonl',
        f'--output={folder}/out.jsonl',
      ]
    )
    assert code == 0
    written.append(epath.Path(f'{folder}/out.jsonl').read_text())
  assert written[0] == written[1]
  assert written[0].count('\n') == 3


@contextlib.contextmanager
def killed_at_write(bucket, writes: int):
  """Interrupted at the n-th object of the workdir."""
  left, put = itertools.count(writes - 1, -1), bucket.GFile

  def killed(path, mode):
    if 'w' in mode and f'{path}'.startswith(WORKDIR) and not next(left):
      raise KeyboardInterrupt
    return put(path, mode)

  bucket.GFile = killed
  try:
    yield
  finally:
    bucket.GFile = put
