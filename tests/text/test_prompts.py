"""Facts about restpg_jax/text/prompts.py. Digits are one token each."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restpg_jax import assets, errors, types
from restpg_jax.text import prompts, sentencepiece_model, templates, turns

TOKENIZER = sentencepiece_model.SentencePiece(
  assets.path('tiny.spm.model').read_bytes()
)
TURNS = turns.of_form(TOKENIZER, 'gemma')
FRAME = len(
  TURNS.prompt(TOKENIZER, '')
)  # tokens of a chat turn around its text


def template(source):
  return templates.Template(
    f'{{% block prompt %}}{source}{{% endblock %}}'
    '{% block opening %}S:{% endblock %}{% block marker %}A:{% endblock %}',
    'mine',
  )


def example(*context, instruction='11111', output=''):
  return types.Example('t/s/0', 't', instruction, output, context=context)


def policy(limit, *context, instruction='11111'):
  return prompts.policy(
    template('{{ instruction }}{{ context | join("") }}'),
    TOKENIZER,
    example(*context, instruction=instruction),
    reasoning=False,
    limit=limit,
  )


@pytest.mark.parametrize(
  ('limit', 'text', 'cut'),
  [  # 1 token opens the row, 5 are the instruction, 3 each document
    (15, '11111222333444', ()),
    (14, '1111122233344', ('document 2',)),
    (13, '111112223334', ('document 2',)),
    (12, '11111222333', ('document 2',)),
    (11, '1111122233', ('document 1', 'document 2')),
    (7, '111112', ('document 0', 'document 1', 'document 2')),
    (6, '11111', ('document 0', 'document 1', 'document 2')),
    (4, '111', ('instruction', 'document 0', 'document 1', 'document 2')),
    (1, '', ('instruction', 'document 0', 'document 1', 'document 2')),
  ],
)
def test_documents_are_cut_last_ranked_first_then_the_instruction(
  limit, text, cut
):
  prompt = policy(limit, '222', '333', '444')
  assert prompt.ids[0] == TOKENIZER.bos == 2
  assert TOKENIZER.decode(prompt.ids[1:]) == text
  assert prompt.cut == cut
  assert len(prompt.ids) == min(limit, 15)


def test_a_document_that_is_gone_takes_its_separator_along():
  prompt = prompts.policy(
    template('{{ instruction }}{{ context | join(" | ") }}'),
    TOKENIZER,
    example('222', '333', instruction='1'),
    reasoning=False,
    limit=6,
  )
  assert TOKENIZER.decode(prompt.ids[1:]) == '1222'
  assert prompt.cut == ('document 1',)


def test_a_template_that_is_too_long_by_itself_is_the_users_error():
  with pytest.raises(errors.InputError) as caught:
    prompts.policy(
      template('9876543210{{ instruction }}'),
      TOKENIZER,
      example(),
      reasoning=False,
      limit=10,
    )
  assert str(caught.value) == (
    'mine: the template alone has 11 tokens; the limit of its prompt is 10'
  )


def test_the_policy_is_told_of_the_marker_only_when_it_is_to_reason():
  source = '{{ marker }}{% if reasoning %}7{% else %}8{% endif %}'
  texts = [
    TOKENIZER.decode(
      prompts.policy(
        template(source), TOKENIZER, example(), reasoning=reasoning, limit=99
      ).ids[1:]
    )
    for reasoning in (True, False)
  ]
  assert texts == ['A:7', '8']


def test_bundled_policy_prompt_in_full():
  prompt = prompts.policy(
    templates.Template(assets.path('prompts/tiny/policy.txt').read_text()),
    TOKENIZER,
    example('It glows.', 'Dim.', instruction='Describe a lamp.'),
    reasoning=True,
    limit=192,
  )
  assert prompt.ids[0] == TOKENIZER.bos
  assert TOKENIZER.decode(prompt.ids[1:]) == (
    'Write for this user. First summarize, then answer.\n'
    'Task: Describe a lamp.\nTexts: It glows. | Dim.\n'
  )
  assert prompt.cut == ()


@pytest.mark.parametrize(
  ('room', 'text', 'cut'),
  [  # instruction 2 tokens, reference 6, answer 4
    (12, '112222223333', ()),
    (11, '12222223333', ('instruction',)),
    (10, '2222223333', ('instruction',)),
    (9, '222223333', ('instruction', 'reference')),
    (8, '22223333', ('instruction', 'reference')),
    (6, '222333', ('instruction', 'reference', 'answer')),
    (2, '23', ('instruction', 'reference', 'answer')),
    (0, '', ('instruction', 'reference', 'answer')),
  ],
)
def test_judge_cuts_the_instruction_then_reference_and_answer_alike(
  room, text, cut
):
  prompt = prompts.judge(
    template('{{ instruction }}{{ reference }}{{ answer }}'),
    TOKENIZER,
    instruction='11',
    reference='222222',
    answer='3333',
    turns=TURNS,
    limit=FRAME + room,
  )
  assert prompt.ids == TURNS.prompt(TOKENIZER, text)
  assert prompt.cut == cut


def test_judge_never_cuts_its_template():
  with pytest.raises(errors.InputError, match='the template alone has'):
    prompts.judge(
      template('1'),
      TOKENIZER,
      instruction='2',
      reference='3',
      answer='4',
      turns=TURNS,
      limit=FRAME,
    )


@pytest.mark.parametrize(
  ('room', 'text', 'cut'),
  [
    (9, '122333444', ()),
    (7, '1223334', ('document 1',)),
    (3, '122', ('document 0', 'document 1')),
    (2, '22', ('instruction', 'document 0', 'document 1')),
    (1, '2', ('instruction', 'output', 'document 0', 'document 1')),
  ],
)
def test_reasoner_cuts_documents_then_instruction_then_output(room, text, cut):
  prompt = prompts.reasoner(
    template('{{ instruction }}{{ output }}{{ context | join("") }}'),
    TOKENIZER,
    example('333', '444', instruction='1', output='22'),
    turns=TURNS,
    limit=FRAME + room,
  )
  assert prompt.ids == TURNS.prompt(TOKENIZER, text)
  assert prompt.cut == cut


WORDS = st.sampled_from(
  ['the ', 'heater', '\n', '  ', '7', 'é', '猫', '<eos>', '\u2581', '{{', ' | ']
)
TEXT = st.lists(WORDS, max_size=12).map(''.join)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=3), TEXT, st.integers(9, 40))
def test_policy_prompts_keep_the_limit(context, instruction, limit):
  prompt = prompts.policy(
    template('ab{{ instruction }}c{{ context | join(" | ") }}\n'),
    TOKENIZER,
    example(*context, instruction=instruction),
    reasoning=True,
    limit=limit,
  )
  assert len(prompt.ids) <= limit
  text = TOKENIZER.decode(prompt.ids[1:])
  if 'instruction' in prompt.cut:
    assert text.endswith('c\n')  # no document is left beside a cut one
  else:
    assert text.startswith(f'ab{instruction}c')
  if not prompt.cut:
    assert text == f'ab{instruction}c{" | ".join(filter(None, context))}\n'


@settings(max_examples=60, deadline=None)
@given(TEXT, TEXT, TEXT, st.integers(0, 30))
def test_judge_prompts_keep_the_limit(instruction, reference, answer, room):
  prompt = prompts.judge(
    template('{{ instruction }}\n{{ reference }}\n{{ answer }}'),
    TOKENIZER,
    instruction=instruction,
    reference=reference,
    answer=answer,
    turns=TURNS,
    limit=FRAME + 2 + room,
  )
  assert len(prompt.ids) <= FRAME + 2 + room


@settings(max_examples=100, deadline=None)
@given(TEXT.filter(bool), st.integers(1, 20))
def test_shorten_leaves_a_strictly_shorter_beginning(text, drop):
  short = prompts.shorten(text, drop, TOKENIZER)
  assert len(short) < len(text) and text.startswith(short)


def test_shorten_counts_tokens():
  assert prompts.shorten('12345', 2, TOKENIZER) == '123'
  assert prompts.shorten('12345', 9, TOKENIZER) == ''
  # A cat is three bytes, three tokens here: no part of it is left over.
  assert prompts.shorten('1猫', 1, TOKENIZER) == '1'
