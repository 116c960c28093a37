"""Facts about restpg_jax/data/remedies.py: what a file is instead of data."""

import gzip
import json

import pytest

from restpg_jax import errors
from restpg_jax.data import requests
from tests.data import longlamp_rows as given

ROW = given.lines(given.MAIL)
REPR = str(given.MAIL).encode()
PRETTY = json.dumps(given.MAIL, indent=1).encode()
PAGE = b'<!DOCTYPE html>\n<html><body>404</body></html>'
POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n'
CUT, RECODE = 'may be cut short', 'save the file as UTF-8'
ANY = [  # of a file of any name
  (gzip.compress(ROW, mtime=0), 'packed by gzip: unpack it'),
  (b'PK\x03\x04' + ROW, 'packed by zip'),
  (f'[{ROW.decode()}]'.encode('utf-16'), f'is UTF-16: {RECODE}'),
  (f'[{ROW.decode()}]'.encode('utf-16-le'), f'is UTF-16: {RECODE}'),
  (PAGE, 'a web page: download the raw file'),
  (POINTER, 'a pointer of Git LFS: git lfs pull'),
]
LINES = [
  (REPR, 'json.dumps'),
  (ROW.replace(b'"a mail"', b'None'), 'json.dumps'),
  (ROW[:-1] + b', "x": nan}', 'json.dumps'),
  (ROW[:-1] + b', "x": -inf}', 'json.dumps'),
  (ROW[:-1] + b',}\n', 'the comma that nothing follows'),
  (ROW.replace(b'}]', b'},]'), 'the comma that nothing follows'),
  (ROW + b',\n' + ROW, 'the comma behind the row'),
  (b'\r'.join([ROW, ROW]), 'carriage return alone'),
  (ROW + ROW, 'more than one row in it: write each row as one line'),
  (ROW + b' ' + ROW, 'more than one row'),
  (PRETTY, 'goes on in the next line: write each row as one line'),
  (b'[\n' + ROW + b'\n]', 'goes on in the next line'),
  (b'[' + ROW + b', ' + ROW + b']', "jq -c '.[]'"),
  (b'{"input": "a\nb"}', 'goes on in the next line'),
  (b'{"input": "a\tb"}', r'\n and \t'),
  (b'{"input": "C:\\x"}', r'write a backslash inside a text as \\'),
  (b'id,input,output\n1,2,3', 'by a JSON library'),
  (b'{input: 1}', 'by a JSON library'),
  (b'{"input": "caf\xe9"}', RECODE),
  (b'[' * 100_000, 'nested too deeply'),
]
LISTS = [
  (b'[' + REPR + b']', 'json.dumps'),
  (b'[{"input": None}, {"a": 1}]', 'json.dumps'),
  (b'[{"a": 1,}, {"a": 1}]', 'the comma that nothing follows'),
  (b'[{"a": "\t"}, {"a": 1}]', r'\n and \t'),
]
CUTS = [ROW[:n] for n in (1, 5, 9, 12, 25, -1)]
CUTS += [b'{"a": tru', b'{"a": -', b'{"a": "x\\u00', b'{"a": "x\\', b'{"a": 1,']


def refusal(tmp_path, name, content):
  task = given.folder(tmp_path, train=None)
  (task / name).write_bytes(content)
  return given.refusal(tmp_path)


@pytest.mark.parametrize('content, remedy', ANY + LINES)
def test_json_lines(tmp_path, content, remedy):
  message = refusal(tmp_path, 'train.jsonl', content)
  given.assert_says(message, 'train.jsonl: row 1 (line 1): ', remedy)
  assert CUT not in message


@pytest.mark.parametrize('content, remedy', ANY + LISTS)
def test_a_json_list(tmp_path, content, remedy):
  message = refusal(tmp_path, 'train.json', content)
  given.assert_says(message, 'train.json: row 1: ', remedy)
  assert CUT not in message


@pytest.mark.parametrize('content, remedy', ANY + LINES)
def test_requests(tmp_path, content, remedy):
  (tmp_path / 'x').write_bytes(content)
  with pytest.raises(errors.InputError) as error:
    list(requests.read_requests(tmp_path / 'x'))
  given.assert_says(str(error.value), 'x: row 1 (line 1): ', remedy)


@pytest.mark.parametrize(
  'content, remedy', [*ANY, (ROW, 'is JSON: call it .jsonl'), (b'', CUT)]
)
def test_parquet(tmp_path, content, remedy):
  message = refusal(tmp_path, 'train-0.parquet', content)
  given.assert_says(message, 'train-0.parquet: row 1: not readable', remedy)


@pytest.mark.parametrize(
  'content, remedy', [ANY[0], (b'[' + REPR, 'json.dumps')]
)
def test_the_outputs_of_a_pair(tmp_path, content, remedy):
  task = given.folder(tmp_path, train=None)
  (task / 'train_questions.json').write_text('[]')
  (task / 'train_outputs.json').write_bytes(content)
  given.assert_says(given.refusal(tmp_path), 'train_outputs.json: not ', remedy)


@pytest.mark.parametrize('content', CUTS)
def test_what_is_cut_short_is_still_said_to_be(tmp_path, content):
  given.assert_says(refusal(tmp_path / '1', 'train.jsonl', content), CUT)
  message = refusal(tmp_path / '2', 'train.jsonl', ROW + b'\n' + content)
  given.assert_says(message, 'row 2', CUT)
  given.assert_says(refusal(tmp_path / '3', 'train.json', b'[' + content), CUT)


def test_a_profile_as_python_shows_it(tmp_path):
  row = given.MAIL | {'profile': "[{'text': 'half a pair \ud83d'}]"}
  message = refusal(tmp_path, 'train.jsonl', given.lines(row))
  given.assert_says(message, 'row 1 (line 1): profile: not', 'json.dumps')


def test_nan_and_infinity_are_accepted(tmp_path):
  content = ROW[:-1] + b', "x": NaN, "y": -Infinity}'
  given.folder(tmp_path, train=content)
  assert len(given.read(tmp_path)[0]) == 1
