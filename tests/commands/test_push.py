"""What `convert --push` sends to the hub, and what it says without one."""

import os

import pytest

from restpg_jax import errors, main, outcomes
from restpg_jax.io import hub
from tests.commands import adapters_here, exports

SECRET = 'hf_' + 'x' * 34


class Hub:
  """Stands in for the hub: notes what it is asked for."""

  calls = []

  def __init__(self, token):
    assert token == SECRET
    self.token = token

  def whoami(self):
    self.calls.append('whoami')

  def create_repo(self, name, *, private, exist_ok):
    self.calls.append(('create', name, private, exist_ok))

  def create_commit(self, name, operations, *, commit_message):
    files = {o.path_in_repo: open_bytes(o) for o in operations}
    self.calls.append(('commit', name, files, commit_message))

    class Commit:
      commit_url = f'https://hub/{name}/commit/1'

    return Commit


def open_bytes(operation):
  with operation.as_file() as file:
    return file.read()


@pytest.fixture
def calls(monkeypatch):
  monkeypatch.setenv('HF_TOKEN', SECRET)
  monkeypatch.setattr(hub.huggingface_hub, 'HfApi', Hub)
  monkeypatch.setattr(Hub, 'calls', [])
  return Hub.calls


def flags(tmp_path, **changed):
  source = exports.saved(tmp_path / 'm', exports.sizes()['gemma'])
  given = {
    'from': source,
    'to': tmp_path / 'out',
    'tokenizer': exports.TOKENIZER,
    'push': 'me/my-policy',
  }
  return ['convert', *(f'--{k}={v}' for k, v in (given | changed).items())]


def test_all_files_go_there_in_one_commit(calls, tmp_path, capsys):
  assert main.main(flags(tmp_path)) == outcomes.DONE
  first, created, (what, name, files, message) = calls
  assert (first, created) == ('whoami', ('create', 'me/my-policy', True, True))
  assert (what, name, message) == (
    'commit',
    'me/my-policy',
    'Upload by restpg_jax',
  )
  out = tmp_path / 'out'
  assert files == {p.name: p.read_bytes() for p in out.iterdir()}
  assert {'config.json', 'generation_config.json', 'README.md'} < files.keys()
  shown = capsys.readouterr()
  assert 'me/my-policy: uploaded, https://hub/me/my-policy/comm' in shown.out
  assert SECRET not in shown.out + shown.err


def test_a_dry_run_says_the_same_files_and_calls_nobody(
  calls, tmp_path, capsys, monkeypatch
):
  monkeypatch.delenv('HF_TOKEN')
  assert main.main([*flags(tmp_path), '--dry_run']) == outcomes.DONE
  assert calls == []
  first, head, *lines = capsys.readouterr().out.splitlines()
  assert first.startswith(f'{tmp_path / "out"}: hf, float32')
  assert head == 'me/my-policy: would be uploaded, in one commit:'
  assert lines == [
    f'  {path.name}, {path.stat().st_size:,} bytes'
    for path in sorted((tmp_path / 'out').iterdir())
  ]
  assert len(lines) == 8


def test_without_a_token_nothing_is_written(tmp_path, capsys, monkeypatch):
  monkeypatch.delenv('HF_TOKEN', raising=False)
  assert main.main(flags(tmp_path)) == outcomes.BAD_INPUT
  assert capsys.readouterr().err.splitlines() == [
    'error: --push=me/my-policy needs a token with the right to write in the '
    'environment, HF_TOKEN=..; --dry_run needs none'
  ]
  assert not (tmp_path / 'out').exists()


def test_without_a_network_one_line_says_so(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('HF_TOKEN', SECRET)
  monkeypatch.setattr(  # as HF_HUB_OFFLINE=1, whatever machine this is
    hub.huggingface_hub.constants, 'is_offline_mode', lambda: True
  )
  assert main.main(flags(tmp_path)) == outcomes.BAD_INPUT
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(
    'error: --push=me/my-policy: the hub cannot be reached or refuses (Canno'
  )
  assert SECRET not in line
  assert not (tmp_path / 'out').exists()


def test_an_upload_that_fails_leaves_the_folder_and_tells_no_token(
  calls, tmp_path, capsys, monkeypatch
):
  def refuse(self, *args, **kwargs):
    raise OSError(f'403 Forbidden: {self.token} may not write')

  monkeypatch.setattr(Hub, 'create_commit', refuse)
  assert main.main(flags(tmp_path)) == outcomes.BAD_INPUT
  shown = capsys.readouterr()
  assert '403 Forbidden: *** may not write' in shown.err
  assert SECRET not in shown.out + shown.err
  out = tmp_path / 'out'
  assert f'{out} is whole: hf upload me/my-policy {out}' in shown.err
  assert (out / 'config.json').exists()


@pytest.mark.parametrize(
  'name', ['policy', 'a/b/c', 'me/my policy', '../x', '/']
)
def test_a_name_that_the_hub_cannot_have(name, calls, tmp_path):
  with pytest.raises(errors.InputError, match='is no name on the hub; give'):
    exports.export('tiny_pt', tmp_path / 'out', push=name)
  assert calls == []


def test_flags_that_do_not_go_together(calls, tmp_path, bucket):
  del bucket
  source = adapters_here.save(tmp_path / 'work', exports.sizes()['llama'])
  for to, given, message in (
    (tmp_path / 'a', {'dry_run': True}, '--dry_run belongs to --push=ORG/NAME'),
    ('gs://b/a', {'push': 'me/x'}, 'needs --to on this machine, not gs://b/a'),
    (
      tmp_path / 'a',
      {'push': 'me/x', 'format': 'peft', 'base': os.fspath(tmp_path)},
      'of an adapter needs --base=ORG/NAME',
    ),
  ):
    with pytest.raises(errors.InputError, match=message):
      exports.export(source, to, **given)
  assert calls == []
