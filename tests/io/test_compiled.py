"""Facts about restpg_jax/io/compiled.py: programs are kept, and never harm."""

import errno
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax._src import compilation_cache

from restpg_jax import config, errors, restpg
from restpg_jax.io import compiled
from tests import many

DIR = 'jax_compilation_cache_dir'
events = []  # what JAX does, 'cache_hits' and 'cache_misses' among it
jax.monitoring.register_event_listener(
  lambda event, **_: events.append(event.split('/')[-1])
)


@pytest.fixture(autouse=True)
def no_cache():
  """The tests' own cache, which a user of JAX would have set, is taken away."""
  before = getattr(jax.config, DIR)
  jax.config.update(DIR, None)
  compilation_cache.reset_cache()
  errors.warn_once.cache_clear()
  yield
  jax.config.update(DIR, before)
  compilation_cache.reset_cache()


def compute(folder, enabled=True):
  """Returns what a program gives that this process has never compiled, and
  what JAX did for it."""

  def program(x):
    return jnp.tanh(x @ x).sum(0)

  events.clear()
  with compiled.programs_in(folder, enabled):
    y = jax.jit(program)(np.arange(64, dtype=np.float32).reshape(8, 8) / 99)
    values = np.asarray(y).tobytes()
  counts = [events.count(f'cache_{kind}') for kind in ('hits', 'misses')]
  return values, counts


def entries(folder):
  return sorted(p for p in pathlib.Path(folder).glob('*/*') if p.is_file())


def test_a_program_is_compiled_once_and_gives_the_same_bits(tmp_path):
  off, counts = compute(tmp_path, enabled=False)
  assert counts == [0, 0] and os.listdir(tmp_path) == []
  cold, counts = compute(tmp_path)
  assert counts == [0, 1]
  before = [(p, p.read_bytes()) for p in entries(tmp_path)]
  warm, counts = compute(tmp_path)
  assert counts == [1, 0]
  assert off == cold == warm
  assert [(p, p.read_bytes()) for p in entries(tmp_path)] == before
  assert len(before) == 1


def test_what_is_compiled_outside_is_not_kept(tmp_path):
  names = [
    DIR,
    *compiled.SETTINGS,
    'jax_persistent_cache_min_compile_time_secs',
  ]
  before = [getattr(jax.config, name) for name in names]
  hooks = [getattr(*hook) for hook in compiled.HOOKS]
  with pytest.raises(KeyboardInterrupt), compiled.programs_in(tmp_path):
    assert getattr(jax.config, DIR).startswith(str(tmp_path))
    raise KeyboardInterrupt
  assert [getattr(jax.config, name) for name in names] == before
  assert [getattr(*hook) for hook in compiled.HOOKS] == hooks
  jax.jit(lambda x: x * 3)(1.0)
  assert entries(tmp_path) == []


def test_a_cache_that_jax_has_already_stays_the_one(tmp_path):
  jax.config.update(DIR, str(tmp_path / 'theirs'))
  compute(tmp_path / 'ours')
  assert os.listdir(tmp_path) == ['theirs']


@pytest.mark.parametrize('damage', ['flipped', 'cut', 'empty'])
def test_a_damaged_program_is_named_and_made_again(tmp_path, damage):
  cold, _ = compute(tmp_path)
  (path,) = entries(tmp_path)
  whole = path.read_bytes()
  flipped = bytearray(whole)
  flipped[len(whole) // 2] ^= 1
  path.write_bytes(
    {'flipped': bytes(flipped), 'cut': whole[:-9], 'empty': b''}[damage]
  )
  with pytest.warns(errors.DataWarning, match=f'{path} is damaged'):
    assert compute(tmp_path) == (cold, [0, 1])
  assert compute(tmp_path) == (cold, [1, 0])


def test_a_whole_file_that_jax_cannot_load_is_replaced(tmp_path):
  cold, _ = compute(tmp_path)
  (path,) = entries(tmp_path)
  programs = compiled.Programs(epath.Path(path.parent))
  programs.get(path.name)
  programs.put(path.name, b'no program')
  with pytest.warns(UserWarning, match='Error reading'):
    assert compute(tmp_path) == (cold, [0, 1])
  assert compute(tmp_path) == (cold, [1, 0])


def test_a_full_disk_is_one_warning(tmp_path, monkeypatch):
  def full(self, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(self))

  right, _ = compute(tmp_path, enabled=False)
  with monkeypatch.context() as patch:
    patch.setattr(type(epath.Path('/x')), 'write_bytes', full)
    with pytest.warns(errors.DataWarning) as caught:
      values = [compute(tmp_path)[0], compute(tmp_path)[0]]
  assert values == [right] * 2
  (one,) = caught
  assert 'No space left on device' in str(one.message)
  assert entries(tmp_path) == []


def test_a_folder_that_cannot_be_one_is_a_warning(tmp_path):
  (tmp_path / 'compiled').write_text('a file')
  right, _ = compute(tmp_path, enabled=False)
  with pytest.warns(errors.DataWarning, match='runs compile it each time'):
    assert compute(tmp_path / 'compiled') == (right, [0, 1])


def test_programs_that_were_used_last_are_kept(tmp_path):
  """In the folders of all machines."""
  now = time.time()
  for n, name in enumerate(['here/a', 'there/b', 'here/c', 'there/d']):
    folder, key = name.split('/')
    compiled.Programs(epath.Path(tmp_path / folder)).put(key, bytes(968))
    os.utime(tmp_path / name, (now - 100 + n, now - 100 + n))
  assert compiled.Programs(epath.Path(tmp_path / 'here')).get('a')
  compiled.trim(epath.Path(tmp_path), 2000)  # each has 1,000 bytes
  assert [p.name for p in entries(tmp_path)] == ['a', 'd']


def test_no_more_is_written_than_the_limit(tmp_path, monkeypatch):
  monkeypatch.setattr(compiled, 'LIMIT', 2000)
  programs = compiled.Programs(epath.Path(tmp_path / 'here'))
  for key in 'abc':
    programs.put(key, bytes(468))
  assert [p.name for p in entries(tmp_path)] == ['a', 'b']


def test_what_a_kill_left_goes_and_what_is_being_written_stays(tmp_path):
  for name, age in (('old.part', 2 * compiled.OLD), ('new.part', 9)):
    path = tmp_path / 'here' / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'half')
    os.utime(path, (time.time() - age,) * 2)
  compiled.trim(epath.Path(tmp_path), 1000)
  assert [p.name for p in entries(tmp_path)] == ['new.part']


def test_another_kind_of_cpu_has_another_folder(tmp_path):
  def name(mhz, flags):
    text = f'processor : 0\ncpu MHz : {mhz}\nflags : {flags}\n\nprocessor : 1'
    path = tmp_path / 'cpuinfo'
    path.write_text(text)
    return compiled.machine(os.fspath(path))

  assert name(2000, 'sse avx2') == name(3000, 'sse avx2')
  assert name(2000, 'sse avx2') != name(2000, 'sse avx2 avx512f')
  assert name(2000, 'sse').startswith(f'cpu-jax-{jax.__version__}-')
  nowhere = compiled.machine(os.fspath(tmp_path / 'none'))  # no Linux
  assert nowhere.startswith('cpu-jax-')


def test_many_may_write_and_read_one_program_at_once(tmp_path):
  program = bytes(range(256)) * 4000
  seen = set()

  def work():
    for _ in range(20):
      programs = compiled.Programs(epath.Path(tmp_path))
      programs.get('k')
      programs.put('k', program)  # over the one it has read
      seen.add(programs.get('k'))

  with warnings.catch_warnings():
    warnings.simplefilter('error')  # in threads it would only be printed
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
  assert seen == {program}
  assert os.listdir(tmp_path) == ['k']


def test_the_hooks_are_there_in_this_jax():
  assert all(hasattr(*hook) for hook in compiled.HOOKS)


def test_another_jax_runs_without(tmp_path, monkeypatch):
  monkeypatch.setattr(
    compiled, 'HOOKS', ((compilation_cache, 'no_such_function'),)
  )
  with pytest.warns(errors.DataWarning, match='in every run'):
    _, counts = compute(tmp_path)
  assert counts == [0, 0]


@pytest.mark.parametrize('cache', [True, False])
def test_a_run_keeps_them_unless_it_is_told_not_to(
  tmp_path, monkeypatch, cache
):
  given = []

  def stop(*arguments):
    given.extend(arguments)
    raise KeyboardInterrupt

  monkeypatch.setattr(compiled, 'programs_in', stop)
  cfg = config.Config(compute=config.Compute(cache=cache))
  cfg.data.world = config.World(train=8, val=4, test=4)
  with pytest.raises(KeyboardInterrupt):
    restpg.run_methods(cfg, tmp_path)
  assert given == [tmp_path / 'compiled', cache]


@pytest.mark.slow  # TensorFlow and Orbax are imported
def test_programs_are_kept_in_a_bucket(bucket, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(compiled, 'WORTH', {True: 0.0})
  cold, counts = compute('gs://b/run/compiled')
  assert counts == [0, 1]
  assert compute('gs://b/run/compiled') == (cold, [1, 0])
  assert len(entries(bucket.local('gs://b/run/compiled'))) == 1
  assert os.listdir() == []  # no folder ./gs:


@pytest.mark.slow
def test_each_of_two_processes_finds_its_own_programs(tmp_path):
  """JAX would let only the first write, and the other compile in each run."""
  cold = both(tmp_path)
  values = cold[0][-1]
  assert cold == [[0, 2, values]] * 2
  assert len(entries(tmp_path)) == 4  # keys hold devices and, on CPUs, process
  assert both(tmp_path) == [[2, 0, values]] * 2


def both(folder):
  """Returns hits, misses (programs written) and values of two processes."""
  with many.free_port() as port:
    started = [start(folder, f'127.0.0.1:{port}', n) for n in '01']
    ended = many.ended(started, seconds=600)
  for process, (_, err) in zip(started, ended, strict=True):
    assert process.returncode == 0, err
  return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def start(folder, address, number):
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.io.compiled_worker', folder, address, number],
    env={k: v for k, v in os.environ.items() if k != DIR.upper()},
    cwd=pathlib.Path(__file__).parents[2],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
