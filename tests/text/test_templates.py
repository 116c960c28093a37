"""Facts about restpg_jax/text/templates.py and the bundled prompt files."""

import pytest

from restpg_jax import assets, errors
from restpg_jax.text import templates

OUTPUT = templates.Output(opening='Summary:', marker='Answer:')


def bundled(name):
  return templates.Template(assets.path(f'prompts/{name}').read_text(), name)


def asking(source):
  return templates.Template(f'{{% block prompt %}}{source}{{% endblock %}}')


def test_tiny_policy_with_reasoning():
  assert bundled('tiny/policy.txt').prompt(
    reasoning=True,
    marker='Answer:',
    instruction='Describe a lamp.',
    context=['It glows.', 'Dim & warm.'],
  ) == (
    'Write for this user. First summarize, then answer.\n'
    'Task: Describe a lamp.\n'
    'Texts: It glows. | Dim & warm.\n'
  )


def test_tiny_policy_without_reasoning_and_without_documents():
  assert bundled('tiny/policy.txt').prompt(
    reasoning=False, marker='', instruction='Describe a lamp.', context=[]
  ) == ('Write for this user.\nTask: Describe a lamp.\nTexts: \n')


def test_tiny_reasoner_and_judge():
  assert bundled('tiny/reasoner.txt').prompt(
    instruction='Describe a lamp.', context=['It glows.'], output='So bright.'
  ) == (
    'Summarize this user.\nTexts: It glows.\nTask: Describe a lamp.\n'
    'Expected: So bright.\n'
  )
  assert bundled('tiny/judge.txt').prompt(
    instruction='Describe a lamp.', reference='So bright.', answer='Dark.'
  ) == (
    'Judge the answer.\nTask: Describe a lamp.\nTruth: So bright.\n'
    'Answer: Dark.\nTruth: So bright.\nScore:\n'
  )


HEAD = (
  'You write on behalf of one particular person. Below are an instruction from '
  'this person and, as context, some texts this person wrote earlier, '
  'separated by " | ". Use the context to find out how the person writes and '
  'what the person knows and prefers.\n'
)
TAIL = '\nInstruction: Describe a lamp.\n\nContext: One. | Two.\n\nAnswer:\n'


def test_policy_with_and_without_reasoning_differ_in_two_sentences():
  template = bundled('policy.txt')
  values = dict(instruction='Describe a lamp.', context=['One.', 'Two.'])
  assert template.prompt(reasoning=True, marker='Final answer:', **values) == (
    HEAD + "First summarize the person's writing style, interests, background "
    'and preferences, as far as the context shows or suggests them and as far '
    'as they matter for the instruction. Then write, after the line '
    '"Final answer:", the answer to the instruction as this person would '
    'write it.\n' + TAIL
  )
  assert template.prompt(reasoning=False, marker='', **values) == (
    HEAD + 'Answer the instruction as this person would write it.\n' + TAIL
  )


def test_judge_ends_where_the_score_belongs():
  text = bundled('judge.txt').prompt(
    instruction='Describe a lamp.', reference='So bright.', answer='Dark.'
  )
  assert text.endswith(
    'Reply with the score only: 1, 3, 5, 7 or 10.\n\n'
    '[instruction]\nDescribe a lamp.\n\n'
    '[ground truth]\nSo bright.\n\n'
    '[answer]\nDark.\n\n'
    '[score]\n'
  )
  for score in (1, 3, 5, 7, 10):
    assert f'\nScore {score}: the answer ' in text


def test_reasoner_ends_with_its_inputs():
  text = bundled('reasoner.txt').prompt(
    instruction='Describe a lamp.', context=['a', 'b'], output='So bright.'
  )
  assert text.endswith(
    '\n\nNow it is your turn.\nProfile: a | b\nSubject: Describe a lamp.\n'
    'Expected output: So bright.\nSummary:'
  )


@pytest.mark.parametrize(
  'text',
  ['{{ 7*7 }}', '{% block prompt %}', '{# gone #}', '<b>&amp;</b>', 'a\n\nb\n'],
)
def test_values_are_inserted_as_they_are(text):
  template = asking('[{{ instruction }}][{{ context | join(" | ") }}]')
  assert (
    template.prompt(instruction=text, context=[text, 'z'])
    == f'[{text}][{text} | z]'
  )


def test_a_value_that_nobody_gives_is_the_users_error():
  with pytest.raises(errors.InputError, match="mine, block prompt: 'subject'"):
    templates.Template(
      '{% block prompt %}{{ subject }}{% endblock %}', 'mine'
    ).prompt(instruction='x')


@pytest.mark.parametrize(
  ('source', 'why'),
  [
    ('{{ 1 / 0 }}', 'division by zero'),
    ('{{ instruction + 1 }}', 'can only concatenate str'),
    ('{{ [].pop() }}', 'pop from empty list'),
    ('{% include "other.txt" %}', 'no loader'),
  ],
)
def test_a_template_that_fails_is_the_users_error(source, why):
  template = templates.Template(
    f'{{% block prompt %}}{source}{{% endblock %}}', 'mine'
  )
  with pytest.raises(errors.InputError, match=f'^mine, block prompt: .*{why}'):
    template.prompt(instruction='x')


def test_a_missing_block_is_named():
  with pytest.raises(errors.InputError, match='template: no .* opening'):
    templates.Output.of(asking('x'))


def test_a_syntax_error_names_its_line():
  with pytest.raises(errors.InputError, match='mine, line 2: '):
    templates.Template(
      '{% block prompt %}\n{{ instruction ! }}\n{% endblock %}', 'mine'
    ).prompt(instruction='x')


def test_a_template_cannot_reach_into_python():
  with pytest.raises(errors.InputError, match='__class__'):
    asking('{{ instruction.__class__.__mro__ }}').prompt(instruction='x')


def test_the_output_side_of_the_bundled_policies():
  assert templates.Output.of(bundled('tiny/policy.txt')) == OUTPUT
  assert templates.Output.of(bundled('policy.txt')) == templates.Output(
    opening="Summary of the person's style, background and preferences:",
    marker='Final answer:',
  )


def test_join_by_hand():
  assert (
    OUTPUT.join('Likes tea.', 'Tea, please.')
    == 'Summary:\nLikes tea.\nAnswer:\nTea, please.'
  )


@pytest.mark.parametrize(
  ('text', 'reasoning', 'answer'),
  [
    ('Summary:\nLikes tea.\nAnswer:\nTea.', 'Likes tea.', 'Tea.'),
    # The first marker line decides: a later one belongs to the answer.
    ('Summary:\na\nAnswer:\nb\nAnswer:\nc', 'a', 'b\nAnswer:\nc'),
    # No marker: no answer.
    ('Summary:\nLikes tea.', 'Likes tea.', None),
    ('', '', None),
    # A marker inside a line, or with more behind it, is no marker line.
    ('Summary:\nHer Answer:\nb', 'Her Answer:\nb', None),
    ('Summary:\na\nAnswer: b', 'a\nAnswer: b', None),
    ('Summary:\na Answer: b\nAnswer:\nc', 'a Answer: b', 'c'),
    # Blanks around it do not matter, and neither does a missing opening.
    ('a\n \tAnswer: \nb\n', 'a', 'b'),
    # A marker with nothing behind it: an empty answer, which is no None.
    ('Summary:\na\nAnswer:', 'a', ''),
    ('Answer:\nb', '', 'b'),
  ],
)
def test_split(text, reasoning, answer):
  assert OUTPUT.split(text) == (reasoning, answer)
  assert OUTPUT.has_marker(text) == (answer is not None)


def test_a_marker_is_plain_text_and_no_pattern():
  output = templates.Output(opening='', marker='(answer.*)')
  assert output.split('a\n(answer.*)\nb') == ('a', 'b')
  assert output.split('a\nanswer!\nb') == ('a\nanswer!\nb', None)
