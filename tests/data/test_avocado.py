"""Facts about restpg_jax/data/avocado.py, of mails in the published form."""

import json
import zipfile

import pytest
from etils import epath

from restpg_jax import errors, types
from restpg_jax.data import avocado, rows
from tests.data import longlamp_rows as given

MAIL = """\
From: "Ann Ash" <ann@avocado.example>
To: bob@avocado.example
Subject: {subject}
Date: 02 Oct 2000 10:23:45 UTC
Message-ID: <{id}@avocado.example>

{text}
"""
MAILS = {
  '001-000001-EM.txt': ('Lunch', 'Hi Bob,\n\nshall we  eat\tat noon? Ann\n'),
  '001-000002-EM.txt': ('Re: Lunch', 'No.'),
  '002-000001-EM.txt': ('=?utf-8?q?Caf=C3=A9?=', 'The café is shut.\n'),
}


def mails(folder, **more):
  """data/text: a zip file of a folder of mails, for each person."""
  folder.mkdir(parents=True)
  for person in ('001', '002'):
    with zipfile.ZipFile(folder / f'{person}.zip', 'w') as archive:
      archive.writestr(f'{person}/', '')
      archive.writestr(f'{person}/{person}-000009-AT.txt', b'\xff no mail')
      for id, (subject, text) in MAILS.items():
        if id.startswith(person):
          mail = MAIL.format(id=id, subject=subject, text=text)
          archive.writestr(f'{person}/{id}', mail)
  return epath.Path(folder)


def question(**fields):
  return {
    'id': '110',
    'input': '001-000001-EM.txt',
    'content_length': 3,
    'profile': [
      {'text': '001-000002-EM.txt', 'id': 'p1'},
      {'text': '002-000001-EM.txt', 'id': 'p2', 'date': '2000-10-02'},
    ],
  } | fields


def ids(folder, *some):
  folder.mkdir(parents=True)
  for split in avocado.SPLITS:
    path = folder / f'{split}_questions.json'
    path.write_text(json.dumps(some or [question()]))
  return epath.Path(folder)


def built(tmp_path, *some, **how):
  to = epath.Path(tmp_path / 'to' / 'email_generation_user')
  counts = avocado.build_task(
    mails(tmp_path / 'text'), ids(tmp_path / 'ids', *some), to=to, **how
  )
  return to, counts


def test_rows_are_those_of_the_official_builder(tmp_path):
  to, counts = built(tmp_path)
  assert counts == {'train': 1, 'dev': 1, 'test': 1}
  assert json.loads((to / 'dev_questions.json').read_text()) == [
    {
      'id': '110',
      'input': 'Complete the text of the following email. title: Lunch. text: '
      'Hi Bob, shall',
      'profile': [
        {'text': 'No.', 'title': 'Re: Lunch', 'id': 'p1'},
        {
          'text': 'The café is shut.',
          'title': 'Café',
          'id': 'p2',
          'date': '2000-10-02',
        },
      ],
    }
  ]
  assert json.loads((to / 'dev_outputs.json').read_text()) == [
    {'id': '110', 'output': 'we eat at noon? Ann'}
  ]


def test_a_run_reads_them(tmp_path):
  to, _ = built(tmp_path, question(user_id='ann'))
  for split in ('train', 'val', 'test'):
    [example], _ = given.read(to.parent, split)
    assert example == types.Example(
      f'email_generation/{split}/0',
      'email_generation',
      'Complete the text of the following email. title: Lunch. text: Hi Bob, '
      'shall',
      'we eat at noon? Ann',
      (
        types.Document('No.', 'No.'),
        types.Document('The café is shut.', 'The café is shut.'),
      ),
    )


def test_user_ids_are_kept(tmp_path):
  to, _ = built(tmp_path, question(user_id='ann'))
  [row] = json.loads((to / 'train_questions.json').read_text())
  assert row['user_id'] == 'ann'


@pytest.mark.parametrize(
  'fields, said',
  [
    ({'input': 'x'}, "input is the mail 'x', which is in none of the zip"),
    ({'input': None}, 'input is missing'),
    ({'id': None}, 'id is missing'),
    ({'content_length': 8}, 'content_length is 8, and the mail has 8 words'),
    (
      {'content_length': '3'},
      "content_length is '3', and the mail has",
    ),
    ({'profile': 5}, 'profile is a int'),
    ({'profile': ['x']}, 'profile item 1: is a str'),
    ({'profile': [{'text': 'x'}]}, "profile item 1: text is the mail 'x'"),
  ],
)
def test_a_row_that_cannot_be_made_is_refused_or_skipped(
  tmp_path, fields, said
):
  some = [question(), question(id='111') | fields]
  with pytest.raises(errors.InputError) as error:
    built(tmp_path / '1', *some)
  given.assert_says(str(error.value), 'train_questions.json: row 2: ', said)
  assert not (tmp_path / '1' / 'to' / 'email_generation_user').exists()
  skipped = []
  _, counts = built(
    tmp_path / '2', *some, unusable=rows.unusable('skip', skipped)
  )
  assert counts == {'train': 1, 'dev': 1, 'test': 1}
  assert [s.row for s in skipped] == [2, 2, 2]


def test_what_is_not_there_is_told(tmp_path):
  mail, asked = mails(tmp_path / 'text'), ids(tmp_path / 'ids')
  to = epath.Path(tmp_path / 'to')
  (asked / 'dev_questions.json').unlink()
  with pytest.raises(errors.InputError, match='dev_questions.json: no such fi'):
    avocado.build_task(mail, asked, to=to)
  with pytest.raises(errors.InputError, match='no zip files there'):
    avocado.build_task(asked, asked, to=to)
  for path in mail.glob('*'):
    path.write_bytes(path.read_bytes()[:-30])
  asked = ids(tmp_path / 'again')
  with pytest.raises(errors.InputError, match='001.zip: not readable as a zip'):
    avocado.build_task(mail, asked, to=to)
  assert not to.exists()


def test_a_mail_without_subject_or_text_has_empty_ones():
  assert avocado.parse_mail(b'From: a@b.c\n\n') == ('', '')
  assert avocado.parse_mail(b'') == ('', '')


def test_building_again_leaves_one_whole_folder(tmp_path):
  to, _ = built(tmp_path)
  (to / 'old').write_text('')
  avocado.build_task(
    epath.Path(tmp_path / 'text'), epath.Path(tmp_path / 'ids'), to=to
  )
  assert not (to / 'old').exists()
  assert [path.name for path in to.parent.iterdir()] == [to.name]
