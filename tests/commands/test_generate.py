"""The verb generate: requests in, texts out, whole or not there."""

import itertools
import json
import os

import pytest
from etils import epath

from restpg_jax import assets, main, outcomes, verb_args
from restpg_jax.commands import generate, policies
from restpg_jax.engines import generator
from restpg_jax.io import partial_file, records
from restpg_jax.text import templates
from tests import runs


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return runs.chosen(tmp_path_factory.mktemp('run') / 'work')


ROWS = (
  {'input': 'Say: hello', 'profile': [{'text': 'Hello, it is me.'}]},
  {'input': 'items: a, b', 'profile': [{'abstract': 'It is so.'}], 'id': 'x'},
  {'input': 'A review', 'profile': [{'reviewText': 'Good.'}], 'output': 'no'},
  {'input': 'A post', 'profile': [{'content': 'See this.'}]},
  {'input': 'Anything', 'profile': ['One text.', 'And another.'], 'id': 77},
  {'input': 'Anything', 'profile': []},
  {'input': 'Anything', 'profile': []},
)
COUNT = len(ROWS)


@pytest.fixture
def users(tmp_path):
  path = tmp_path / 'users.jsonl'
  path.write_text(''.join(f'{json.dumps(row)}\n' for row in ROWS))
  return path


def write(workdir, users, output, *flags):
  return main.main(
    [
      *('generate', f'--workdir={workdir}', f'--input={users}'),
      *(f'--output={output}', *flags),
    ]
  )


def lines(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_line_a_row_in_order(workdir, users, tmp_path, capsys):
  out = tmp_path / 'out.jsonl'
  assert write(workdir, users, out, '--method=rest_pg') == outcomes.DONE
  found = lines(out)
  assert [line['id'] for line in found] == [1, 'x', 3, 4, 77, 6, 7]
  assert [line['task'] for line in found] == [
    *('email_generation', 'abstract_generation', 'product_review'),
    *('topic_writing', None, None, None),
  ]
  assert all(list(line) == list(generate.TextLine.__annotations__)
             for line in found)  # fmt: skip
  assert found[5]['reasoning'] != found[6]['reasoning']  # a key a row
  out, err = capsys.readouterr()
  no_answer = sum(line['answer'] is None for line in found)
  cut = sum(not line['ended'] for line in found)
  assert out == (
    f'{tmp_path}/out.jsonl: 7 texts by rest_pg, iteration 1; 7 made now, of '
    f'them {no_answer} without an answer, {cut} cut at the output limit\n'
  )
  first, *_ = err.splitlines()  # behind it: how far it is, on a slow machine
  assert first == f'warning: {users}: 2 rows without any document'


@pytest.mark.slow
def test_a_policy_that_does_not_reason_only_answers(workdir, users, tmp_path):
  assert write(workdir, users, tmp_path / 'out.jsonl') == outcomes.DONE  # sft
  for line in lines(tmp_path / 'out.jsonl'):
    assert line['reasoning'] == ''
    assert isinstance(line['answer'], str)


def test_files_that_lie_in_the_workdir_are_read_from_there(tmp_path):
  workdir = runs.chosen(tmp_path / 'work')
  for name in ('tiny.spm.model', 'prompts/tiny/policy.txt'):
    inside = workdir / name.replace('/', '_')
    inside.write_bytes((assets.HERE / name).read_bytes())
  for path in workdir.rglob('*.json'):
    text = path.read_text().replace('"tiny.spm', '"./tiny.spm')
    path.write_text(text.replace('"prompts/tiny/', '"./prompts_tiny_'))
  policy = policies.workdir_policy(epath.Path(workdir), 'sft')
  cfg = generate.generate_settings(policy, verb_args.GenerateArgs())
  assert cfg.tokenizer.tokenizer == str(workdir / 'tiny.spm.model')
  assert cfg.prompt.template == str(workdir / 'prompts_tiny_policy.txt')
  of_stage = policies.find_policy(str(workdir / 'sft' / 'choose-a'))
  assert of_stage.tokenizer == cfg.tokenizer.tokenizer


def test_reasoning_and_answer_stand_apart():
  request = generate.requests.TextRequest('u', runs.example(runs.TOPIC, 0))
  text = 'Summary:\nlikes red\nAnswer:\nred boats\n'
  sampled = generator.Sample('1', 0, text, True, 9, -2.5)
  side = templates.Output('Summary:', 'Answer:')
  assert generate.written_text(request, sampled, side) == generate.TextLine(
    'u', runs.TOPIC, 'likes red', 'red boats', True
  )
  assert generate.written_text(request, sampled, None) == generate.TextLine(
    'u', runs.TOPIC, '', text.strip(), True
  )


TWO = """
from restpg_jax import config
def get_config():
  return config.Config(compute=config.Compute(prompts=2))
"""


@pytest.mark.slow
@pytest.mark.parametrize('appends', [1, 2, 3])
def test_a_killed_run_goes_on_to_the_same_bytes(
  workdir, users, tmp_path, monkeypatch, capsys, appends
):
  whole, out = tmp_path / 'whole.jsonl', tmp_path / 'out.jsonl'
  (tmp_path / 'two.py').write_text(TWO)
  two = f'--config={tmp_path}/two.py'  # side by side
  assert write(workdir, users, whole, two) == outcomes.DONE
  append = partial_file.PartialFile.append
  left = [appends]

  def torn(self, items):
    left[0] -= 1
    if left[0]:
      return append(self, items)
    self._tail.add(b''.join(map(records.encoded, items))[:-5])
    raise KeyboardInterrupt

  monkeypatch.setattr(partial_file.PartialFile, 'append', torn)
  assert write(workdir, users, out, two) == outcomes.INTERRUPTED
  assert not out.exists()
  monkeypatch.setattr(partial_file.PartialFile, 'append', append)
  capsys.readouterr()
  assert write(workdir, users, out, two) == outcomes.DONE
  assert out.read_bytes() == whole.read_bytes()
  made = {1: COUNT - 1, 2: COUNT - 3, 3: COUNT - 5}  # two each; one is torn
  assert f'; {made[appends]} made now' in capsys.readouterr().out
  assert not list(tmp_path.glob('*.part*'))


def backwards(model, examples, cfg, total):
  """An engine that hands out samples in no order, three at a time."""
  assert total == COUNT
  for some in iter(lambda: list(itertools.islice(examples, 3)), []):
    yield generator.FinishedSamples(
      [
        generator.Sample(e.id, 0, f'text {e.id}', True, 3, -1.0)
        for e in reversed(some)
      ],
      busy=9,
      slots=12,
    )


@pytest.mark.slow
def test_rows_are_read_as_they_are_needed_and_order_is_kept(
  workdir, users, tmp_path, monkeypatch
):
  monkeypatch.setattr(generate, 'sample_rows', backwards)
  assert write(workdir, users, tmp_path / 'out.jsonl') == outcomes.DONE
  answers = [line['answer'] for line in lines(tmp_path / 'out.jsonl')]
  assert answers == [f'text {n}' for n in range(1, 8)]


@pytest.mark.slow
def test_it_asks_as_evaluation_does(workdir, tmp_path, monkeypatch):
  calls = []

  def sample(model, wanted, **how):
    calls.append((model.tokenizer, list(wanted), how))
    drawn = generator.Sample('1', 0, 'x', True, 1, -1.0)
    yield generator.FinishedSamples([drawn], 1, 1)

  monkeypatch.setattr(generator, 'generate_samples', sample)
  users = tmp_path / 'users.jsonl'
  texts = [f'the garden and {word}' for word in 'abcdef'] + ['nothing of it']
  row = {'input': 'about the garden', 'profile': texts}
  users.write_text(json.dumps(row))
  write(workdir, users, tmp_path / 'out.jsonl', '--method=rest_pg')
  ((words, (wanted,), how),) = calls
  assert (wanted.example_id, tuple(wanted.js)) == ('1', (0,))
  prompt = words.decode(wanted.prompt)
  assert prompt.startswith('Write for this user. First summarize, then answer.')
  assert 'Task: about the garden\nTexts: the garden and ' in prompt
  assert prompt.count(' | ') == 4  # k = 5 of 7
  assert 'nothing of it' not in prompt
  assert how == {
    'inputs': 1,
    'prompt_length': 192,
    'm': 1,
    'max_output': 24,
    'stop': (words.eos,),
    'temperature': 0.1,
    'top_p': 0.95,
    'top_k': 0,
    'seed': 0,
    'purpose': 'generate',
  }


@pytest.mark.slow
@pytest.mark.parametrize(
  'flags, said',
  [
    (['--output=o'], 'generate needs --workdir=RUN, --input=FILE and --output'),
    (['--input=good'], 'generate needs --workdir=RUN, --input=FILE and --outp'),
    (['--input=none', '--output=o'], '--input=none: no such file; give one'),
    (['--input=folder', '--output=o'], '--input=folder is a folder; give a fi'),
    (['--input=empty', '--output=o'], 'empty: it has no rows; write one a lin'),
    (['--input=bad', '--output=o'], 'bad: row 2 (line 2): input is missing; e'),
    (['--input=good', '--output=bad'], '--output=bad is there already; give'),
    (
      ['--input=good', '--output=o', '--method=rest_em'],
      '--method=rest_em: finished in WORK are rest_pg, sft',
    ),
    (['--input=good', '--output=o', '--task=x'], '--task=x: known are email_g'),
    (['--input=good', '--output=o', '--workdir=nix'], '--workdir=nix: no such'),
    (
      ['--input=good', '--output=o', '--workdir=folder'],
      'folder: no method is finished there yet',
    ),
    (['--input=good', '--output=o', '--to=x'], '--from, --to, --format, --dty'),
  ],
)
def test_bad_input_is_a_line_and_leaves_nothing(
  workdir, flags, said, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'good').write_text(json.dumps(ROWS[0]))
  (tmp_path / 'bad').write_text(f'{json.dumps(ROWS[0])}\n{{"profile": []}}\n')
  (tmp_path / 'empty').write_text('')
  (tmp_path / 'folder').mkdir()
  before = sorted(os.listdir())
  flags = [f'--workdir={workdir}', *flags]
  assert main.main(['generate', *flags]) == outcomes.BAD_INPUT
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f'error: {said}'.replace('WORK', str(workdir)))
  assert sorted(os.listdir()) == before


@pytest.mark.slow
def test_a_part_of_another_input_is_not_gone_on_with(
  workdir, users, tmp_path, monkeypatch, capsys
):
  out = tmp_path / 'out.jsonl'

  def torn(self, items):
    self._tail.add(b''.join(map(records.encoded, items)))
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(partial_file.PartialFile, 'append', torn)
    assert write(workdir, users, out) == outcomes.INTERRUPTED
  assert write(workdir, users, out, '--method=rest_pg') == outcomes.BAD_INPUT
  assert 'out.jsonl.part was begun with another input' in (
    capsys.readouterr().err
  )
  users.write_text(users.read_text().replace('A post', 'A poem'))
  assert write(workdir, users, out) == outcomes.BAD_INPUT
  assert not out.exists()


def test_a_template_that_changed_since_is_refused(tmp_path, users, capsys):
  work = runs.chosen(tmp_path / 'work')
  (path,) = work.glob('methods/rest_pg-*.json')
  method = records.read_json(path)
  method['output']['marker'] = 'Reply:'
  records.write_json(path, method)
  out = tmp_path / 'out.jsonl'
  assert write(work, users, out, '--method=rest_pg') == outcomes.BAD_INPUT
  assert "trained with the marker line 'Reply:'" in capsys.readouterr().err


def test_flags_of_generate_belong_to_it(tmp_path, capsys):
  assert main.main(['run', f'--workdir={tmp_path}', '--task=x']) == 2
  assert capsys.readouterr().err == (
    'error: --input, --output, --method and --task belong to the verb '
    'generate\n'
  )
