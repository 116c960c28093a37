"""Facts about setup.py, the constraints and the Makefile."""

import ast
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
from importlib import metadata

import pytest
from packaging import requirements, specifiers, utils

ROOT = pathlib.Path(__file__).parent.parent
PINS = sorted((ROOT / 'constraints').glob('*.txt'))
SETUP = runpy.run_path(str(ROOT / 'setup.py'))


def files_below(folder):
  return {
    str(path.relative_to(folder))
    for path in folder.rglob('*')
    if path.is_file() and '__pycache__' not in path.parts
  }


@pytest.mark.slow
def test_the_installed_package_has_every_file(tmp_path):
  # A copy, since setuptools writes beside setup.py.
  shutil.copytree(ROOT / 'restpg_jax', tmp_path / 'restpg_jax')
  shutil.copy(ROOT / 'setup.py', tmp_path)
  odd = tmp_path / 'restpg_jax' / 'assets' / 'tiny' / 'deep'
  odd.mkdir(parents=True)
  (odd / '.zarray').write_text('a checkpoint may have names with a dot')
  subprocess.run(
    [sys.executable, 'setup.py', '-q', 'build', '--build-lib', 'built'],
    cwd=tmp_path,
    check=True,
    capture_output=True,
  )
  found = files_below(tmp_path / 'built' / 'restpg_jax')
  assert found == files_below(tmp_path / 'restpg_jax')
  assert {'main.py', 'py.typed', 'assets/prompts/judge.txt'} <= found
  assert 'assets/tiny/deep/.zarray' in found


def test_every_package_has_an_init_file():
  for path in (ROOT / 'restpg_jax').rglob('*.py'):
    assert (path.parent / '__init__.py').exists(), path


def test_every_foreign_import_is_required():
  modules = {  # by the name of the package that brings them
    'absl': 'absl-py',
    'google': 'protobuf',
    'huggingface_hub': 'huggingface-hub',
    'mailparser': 'mail-parser',
    'ml_collections': 'ml-collections',
    'ml_dtypes': 'ml-dtypes',
    'orbax': 'orbax-checkpoint',
    'rank_bm25': 'rank-bm25',
    'rouge_score': 'rouge-score',
    'tensorflow_datasets': 'tensorflow-datasets',
  }
  named = {requirements.Requirement(r).name for r in SETUP['REQUIRES']}
  for path in (ROOT / 'restpg_jax').rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        names = [node.module]
      else:
        continue
      tops = {name.split('.')[0] for name in names}
      foreign = tops - sys.stdlib_module_names - {'restpg_jax'}
      for name in foreign:
        assert modules.get(name, name) in named, f'{path} imports {name}'


def test_there_are_constraints_for_each_python():
  assert [p.name for p in PINS] == ['python3.11.txt', 'python3.12.txt']


@pytest.mark.parametrize('path', PINS, ids=lambda path: path.stem)
def test_constraints_are_pins_that_fit_what_is_required(path):
  lines = path.read_text().splitlines()
  pins = {}
  for line in lines:
    if line and not line.startswith('#'):
      # No address, no folder of somebody's machine, no editable install.
      match = re.fullmatch(r'([\w.-]+)==([\w.+!]+)', line)
      assert match, line
      pins[utils.canonicalize_name(match[1])] = match[2]
  assert 'restpg-jax' not in pins
  wanted = SETUP['REQUIRES'] + SETUP['EXTRAS']['test']
  for text in wanted:
    requirement = requirements.Requirement(text)
    name = utils.canonicalize_name(requirement.name)
    if name != 'setuptools':  # comes with the virtual environment
      assert requirement.specifier.contains(pins[name]), text


def test_no_pin_refuses_this_python():
  # Some installers ignore such limits; pip finds no solution at all then.
  version = f'{sys.version_info.major}.{sys.version_info.minor}'
  path = ROOT / 'constraints' / f'python{version}.txt'
  if not path.exists():
    pytest.skip(f'no constraints for Python {version}')
  pins = dict(re.findall(r'^([\w.-]+)==(.+)$', path.read_text(), re.MULTILINE))
  seen = 0
  for name, pin in pins.items():
    try:
      found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
      continue
    if found['Version'] == pin:
      limits = specifiers.SpecifierSet(found['Requires-Python'] or '')
      assert limits.contains(f'{version}.1'), f'{name}=={pin} wants {limits}'
      seen += 1
  assert seen > 0


# A Python that makes virtual environments of itself and writes down calls; by
# another name it is uv, which writes down where it looks for packages, too.
FAKE = """#!/bin/bash
echo "$(basename "$0") $*$UV_FIND_LINKS" >> {log}
case "$1 $2" in
  'pip install') [[ "$FAILING" == uv ]] && exit 1 ;;
  '-c import sys; sys.exit'*) exit {too_old} ;;
  '-c import sys; print'*) echo 3.11 ;;
  '-m venv') mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  '-m basedpyright' | '-m pytest') [[ "$*" == "$FAILING" ]] && exit 1 ;;
  '-m pip') [[ "$*" == *"$FAILING"* && -n "$FAILING" ]] && exit 1 ;;
esac
exit 0
"""


class Fresh:
  """A fresh checkout with a Python that only pretends."""

  def __init__(self, folder, too_old=0):
    self.folder, self.log = folder, folder / 'log'
    shutil.copy(ROOT / 'Makefile', folder)
    shutil.copy(ROOT / 'setup.py', folder)
    (folder / 'constraints').mkdir()
    (folder / 'constraints' / 'python3.11.txt').write_text('')
    fake = folder / 'fake'
    fake.write_text(FAKE.format(log=self.log, too_old=too_old))
    fake.chmod(0o755)

  def make(self, target, failing='', uv='', **environment):
    """The exit status, what was printed, and the calls without checks."""
    self.log.write_text('')
    done = subprocess.run(
      ['make', target, 'PYTHON=./fake', f'UV={uv}'],
      cwd=self.folder,
      env={'PATH': '/usr/bin:/bin', 'FAILING': failing, **environment},
      capture_output=True,
      text=True,
    )
    calls = [
      line
      for line in self.log.read_text().splitlines()
      if ' -c ' not in line and not line.endswith('--version')
      or 'install' in line
    ]  # fmt: skip
    return done.returncode, done.stdout + done.stderr, calls


INSTALL = (
  'python -m pip install --quiet --disable-pip-version-check '
  '-c constraints/python3.11.txt -e '
)
BY_UV = (
  'fake pip install --quiet --compile-bytecode --python .venv/bin/python '
  '-c constraints/python3.11.txt -e '
)
RUN = (
  'python -m restpg_jax.main run --config=configs/demo.py --workdir=runs/demo'
)
PYTEST = 'python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder'
NO_TORCH = '--ignore-glob=*_torch.py'
LINT = ['python -m ruff check .', 'python -m ruff format --check .']
CHECK = [
  *LINT,
  'python -m basedpyright',
  f'{PYTEST} tests/*/*_torch.py',
  f'{PYTEST} {NO_TORCH}',
]


@pytest.mark.slow
def test_make_demo_installs_once(tmp_path):
  fresh = Fresh(tmp_path)
  assert fresh.make('demo')[2] == ['fake -m venv .venv', INSTALL + '.', RUN]
  assert fresh.make('demo')[2] == [RUN]


@pytest.mark.slow
def test_make_test_adds_what_tests_need_once(tmp_path):
  fresh = Fresh(tmp_path)
  fresh.make('demo')
  assert fresh.make('test')[2] == [INSTALL + '.[test]', *CHECK]
  assert fresh.make('test')[2] == CHECK
  assert fresh.make('demo')[2] == [RUN]


@pytest.mark.slow
def test_make_quick_runs_the_tests_that_are_not_slow(tmp_path):
  fresh = Fresh(tmp_path)
  fresh.make('test')
  assert fresh.make('quick')[2] == [
    *LINT,
    f'{PYTEST} -m not slow {NO_TORCH}',
  ]


@pytest.mark.slow
@pytest.mark.parametrize('failing', CHECK[-3:])
def test_make_test_fails_if_one_of_its_steps_does(failing, tmp_path):
  fresh = Fresh(tmp_path)
  step = failing.removeprefix('python ')
  status, _, calls = fresh.make('test', failing=step)
  assert status != 0
  assert calls[-1] == failing


@pytest.mark.slow
def test_a_changed_pin_installs_again(tmp_path):
  fresh = Fresh(tmp_path)
  fresh.make('demo')
  stamp = (tmp_path / '.venv' / 'installed').stat().st_mtime
  path = tmp_path / 'constraints' / 'python3.11.txt'
  path.write_text('numpy==2')

  os.utime(path, (stamp + 5, stamp + 5))
  assert fresh.make('demo')[2] == [INSTALL + '.', RUN]


@pytest.mark.slow
def test_an_installation_that_failed_is_tried_again(tmp_path):
  fresh = Fresh(tmp_path)
  status, _, calls = fresh.make('demo', failing='install')
  assert status != 0
  assert calls[-1] == INSTALL + '.'
  assert fresh.make('demo')[2] == [INSTALL + '.', RUN]


@pytest.mark.slow
def test_uv_installs_the_same_pins_once(tmp_path):
  fresh = Fresh(tmp_path)
  calls = fresh.make('demo', uv='./fake')[2]
  assert calls == ['fake -m venv .venv', BY_UV + '.', RUN]
  assert fresh.make('demo', uv='./fake')[2] == [RUN]
  calls = fresh.make('test', uv='./fake')[2]
  assert calls == [BY_UV + '.[test]', *CHECK]


@pytest.mark.slow
def test_uv_is_taken_from_the_path(tmp_path):
  fresh = Fresh(tmp_path)
  (tmp_path / 'bin').mkdir()
  shutil.copy(tmp_path / 'fake', tmp_path / 'bin' / 'uv')
  done = subprocess.run(
    ['make', '-n', 'demo', 'PYTHON=./fake'],
    cwd=fresh.folder,
    env={'PATH': f'{tmp_path}/bin:/usr/bin:/bin'},
    capture_output=True,
    text=True,
  )
  assert f'{tmp_path}/bin/uv pip install --quiet' in done.stdout


@pytest.mark.slow
def test_uv_looks_where_pip_would(tmp_path):
  links = {'PIP_FIND_LINKS': '/wheels https://more.example/wheels'}
  calls = Fresh(tmp_path).make('demo', uv='./fake', **links)[2]
  assert calls[1] == BY_UV + './wheels,https://more.example/wheels'


@pytest.mark.slow
def test_what_uv_cannot_get_pip_gets(tmp_path):
  fresh = Fresh(tmp_path)
  status, out, calls = fresh.make('demo', failing='uv', uv='./fake')
  assert status == 0
  assert 'uv could not: pip tries' in out
  assert calls[1:] == [BY_UV + '.', INSTALL + '.', RUN]
  assert fresh.make('demo', uv='./fake')[2] == [RUN]


@pytest.mark.slow
def test_an_old_python_is_told_so(tmp_path):
  status, out, calls = Fresh(tmp_path, too_old=1).make('demo')
  assert status == 2
  assert 'error: ./fake is no Python of 3.11 or newer' in out
  assert calls == []


@pytest.mark.slow
def test_continuous_integration_runs_make_test(tmp_path):
  # Whether or not pip gets uv, with which make installs faster.
  script = ROOT / '.ci' / 'run'
  assert script.stat().st_mode & 0o111
  for code in (0, 1):
    (tmp_path / 'python3').write_text(f'#!/bin/sh\nexit {code}\n')
    (tmp_path / 'make').write_text('#!/bin/sh\necho "$PWD: make $* $UV"\n')
    for name in ('python3', 'make'):
      (tmp_path / name).chmod(0o755)
    done = subprocess.run(
      [script],
      env={'PATH': f'{tmp_path}:/usr/bin:/bin'},
      capture_output=True,
      text=True,
      check=True,
    )
    uv = '' if code else 'python3 -m uv'
    assert done.stdout == f'{ROOT}: make test {uv}\n'


def test_the_licence_is_whole():
  text = (ROOT / 'LICENSE').read_text()
  assert 'Apache License\n                           Version 2.0' in text
  assert 'END OF TERMS AND CONDITIONS' in text


def test_nothing_says_to_install_it_from_an_index():
  for path in [
    *(ROOT / 'README.md', ROOT / 'Makefile'),
    *(p for d in ('docs', 'launch', 'configs') for p in (ROOT / d).rglob('*')),
    *(ROOT / 'restpg_jax').rglob('*.py'),
  ]:
    if path.is_file() and path.suffix not in ('.pyc', '.png'):
      assert not re.search(r"pip install '?restpg", path.read_text()), path


def test_the_version_is_one():
  version = re.search(
    r"version='([\d.]+)'", (ROOT / 'setup.py').read_text()
  ).group(1)
  assert f'\nversion: {version}\n' in (ROOT / 'CITATION.cff').read_text()
  newest = re.search(
    r'^## \[(.*?)\]', (ROOT / 'CHANGELOG.md').read_text(), re.M
  )
  assert newest.group(1) == version
