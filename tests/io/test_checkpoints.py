"""Model folders: written whole, written again, refused when damaged."""

import pathlib
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from restpg_jax import errors
from restpg_jax.engines import trainer
from restpg_jax.io import checkpoints
from restpg_jax.training import optimizer
from tests import tiny

SIZE = tiny.size()
ROOT = pathlib.Path(__file__).parents[2]
FOREVER = """
import sys
import jax.numpy as jnp
from restpg_jax.io import checkpoints
from tests import tiny
with checkpoints.Saver() as saver:
  for n in range(int(sys.argv[2]), 10_000):
    tree = {'w': jnp.full((1 << 20,), n), 'b': jnp.full(3, n)}
    saver.save(f'{sys.argv[1]}/checkpoints/step_{n}', tree, tree, tiny.size())
    print(n, flush=True)
"""


def test_a_remote_path_does_not_become_a_folder_here(
  bucket, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  tree = {'w': np.arange(3.0)}
  checkpoints.save_model('gs://b/one', tree, SIZE)
  with checkpoints.Saver() as saver:
    saver.save('gs://b/two', tree, tree, SIZE)
  assert list(tmp_path.iterdir()) == []
  for name in ('one', 'two/model'):
    params, size = checkpoints.restore_model(f'gs://b/{name}')
    np.testing.assert_array_equal(params['w'], tree['w'])
    tensors = checkpoints.CheckpointTree(f'gs://b/{name}/params')
    np.testing.assert_array_equal(tensors.read('w'), tree['w'])
    assert size == SIZE


def test_a_model_comes_back_bit_for_bit_and_may_be_written_again(tmp_path):
  # A run killed behind the model but before DONE.json writes it once more.
  for value in (0.1, 0.2):
    checkpoints.save_model(tmp_path / 'm', {'w': np.float32([value])}, SIZE)
  params, size = checkpoints.restore_model(tmp_path / 'm')
  assert size == SIZE
  assert params['w'].tolist() == [np.float32(0.2)]
  assert checkpoints.count_parameters(params) == 1


def test_weights_are_not_held_twice_while_they_are_saved_or_loaded(tmp_path):
  tree = {'a': np.ones(1 << 20, np.float32), 'b': np.ones(1 << 20, np.int8)}
  tracemalloc.start()  # of what NumPy has, not of what TensorStore reads into
  try:
    checkpoints.save_tree(tmp_path / 'tree', tree)
    found = checkpoints.load_tree(tmp_path / 'tree')
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  assert peak < 1 << 20
  for name, x in tree.items():
    assert type(found[name]) is np.ndarray
    np.testing.assert_array_equal(found[name], x, strict=True)


@pytest.mark.parametrize('name', ['a[1]b', '[!x]', 'a*b', 'a?b', 'new\nline'])
def test_the_name_of_the_folder_is_no_pattern(name, tmp_path):
  tree = {'w': np.float32([1.5])}
  with checkpoints.Saver() as saver:
    saver.save(tmp_path / name, tree, {'n': jnp.int32(3)}, SIZE)
  model = tmp_path / name / 'model'
  assert checkpoints.restore_model(model)[0]['w'].tolist() == [1.5]
  assert checkpoints.CheckpointTree(model / 'params').read('w').tolist() == [
    1.5
  ]
  assert checkpoints.load_tree(tmp_path / name / 'optimizer')['n'] == 3


@pytest.mark.parametrize('name', ['a\\b', 'a\udcffb'])
def test_a_path_that_is_another_one_to_tensorstore_is_refused(name, tmp_path):
  # It would write into a/b, and the checkpoint be whole and without numbers.
  with pytest.raises(errors.InputError, match='a backslash or is no UTF-8'):
    checkpoints.save_tree(tmp_path / name, {'w': np.float32([1.5])})
  with (
    checkpoints.Saver() as saver,
    pytest.raises(errors.InputError, match='a backslash or is no UTF-8'),
  ):
    saver.save(tmp_path / name, {'w': jnp.ones(1)}, {}, SIZE)
  assert list(tmp_path.iterdir()) == []


def test_a_folder_without_model_json_is_no_model(tmp_path):
  with pytest.raises(errors.InputError, match='model.json is missing'):
    checkpoints.restore_model(tmp_path)


def test_what_is_saved_is_the_state_of_its_step(tmp_path):
  # The arrays are donated, and so overwritten, while they are on their way.
  double = jax.jit(
    lambda tree: jax.tree.map(lambda x: 2 * x, tree), donate_argnums=0
  )
  state = {'w': jnp.ones((1 << 20,))}
  with checkpoints.Saver() as saver:
    for n in range(3):
      saver.save(tmp_path / f'step_{n}', state, state, SIZE, step=n)
      for _ in range(2):
        state = double(state)
  for n in range(3):
    params, _ = checkpoints.restore_model(tmp_path / f'step_{n}' / 'model')
    rest = checkpoints.load_tree(tmp_path / f'step_{n}' / 'optimizer')
    for found in (params, rest):
      assert np.unique(found['w']).tolist() == [4.0**n]


def test_who_saves_waits_for_the_disk_only_at_the_next_and_at_the_end(
  tmp_path, monkeypatch
):
  disk, describe = threading.Semaphore(0), checkpoints._describe

  def slowly(*args):
    assert disk.acquire(timeout=60)
    describe(*args)

  monkeypatch.setattr(checkpoints, '_describe', slowly)
  tree = {'w': jnp.ones(3)}
  folders = [tmp_path / 'checkpoints' / f'step_{n}' for n in (1, 2)]
  with checkpoints.Saver() as saver:
    saver.save(folders[0], tree, tree, SIZE)
    assert trainer.finished_steps(epath.Path(tmp_path)) == []
    threading.Timer(0.1, disk.release).start()
    saver.save(folders[1], tree, tree, SIZE)
    assert trainer.finished_steps(epath.Path(tmp_path)) == [1]
    threading.Timer(0.1, disk.release).start()
  assert trainer.finished_steps(epath.Path(tmp_path)) == [1, 2]


def test_an_error_of_the_disk_is_not_lost(tmp_path, monkeypatch):
  def full(*args):
    raise OSError('no space left')

  monkeypatch.setattr(checkpoints, '_describe', full)
  tree = {'w': jnp.ones(3)}
  with pytest.raises(OSError, match='no space left'):  # noqa: SIM117
    with checkpoints.Saver() as saver:
      saver.save(tmp_path / 'step_1', tree, tree, SIZE)


@pytest.mark.slow
def test_what_counts_as_whole_after_a_kill_is_whole(tmp_path):
  first = 0
  for pause in (0.0, 0.02):  # while it is copied, while it is written
    process = subprocess.Popen(
      [sys.executable, '-c', FOREVER, tmp_path, str(first)],
      cwd=ROOT,
      stdout=subprocess.PIPE,
      text=True,
    )
    for _ in range(4):
      begun = int(process.stdout.readline())
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    process.wait()
    whole = trainer.finished_steps(epath.Path(tmp_path))
    assert whole[:begun] == list(range(begun))  # all before the last one
    for n in whole:
      folder = tmp_path / 'checkpoints' / f'step_{n}'
      for tree in ('model/params', 'optimizer'):
        found = checkpoints.load_tree(folder / tree)
        assert np.unique(found['w']).tolist() == [n]
        assert found['b'].tolist() == [n] * 3
    first = whole[-1] + 1  # of which a part may be there


def test_a_state_of_another_shape_says_what_differs(tmp_path):
  def state(width):
    params = {'layers': {'q': jnp.ones((2, 3, width)), 'k': jnp.ones((2, 3))}}
    rate = optax.constant_schedule(0.1)
    return optimizer.build_optimizer(
      'adamw', rate, weight_decay=0.0, clip=1.0
    ).init(params)

  checkpoints.save_tree(tmp_path / 'o', state(4))
  same = checkpoints.load_tree(tmp_path / 'o', like=state(4))
  assert jax.tree.structure(same) == jax.tree.structure(state(4))
  with pytest.raises(errors.InputError) as caught:
    checkpoints.load_tree(tmp_path / 'o', like=state(5))
  message = str(caught.value)
  assert f'{tmp_path / "o"}: it is the checkpoint of another shape' in message
  assert 'mu/layers/q is [2, 3, 4], [2, 3, 5] expected' in message
  assert 'layers/k' not in message


def test_no_tree_at_all_is_the_users_to_mend(tmp_path):
  (tmp_path / 'o').mkdir()
  with pytest.raises(errors.InputError, match='no Orbax checkpoint'):
    checkpoints.load_tree(tmp_path / 'o')
