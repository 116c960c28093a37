"""Facts about restpg_jax/text/names.py: which words are taken for names."""

import pytest

from restpg_jax.text import names


@pytest.mark.parametrize(
  'text, sources, expected',
  [
    ('We met Cleo in Rome.', ['rome is old'], ['Cleo']),
    ('Anna met Bob. Cleo left Bob.', ['bob came'], []),
    ("It was Anna's, not Bob's.", ['Bob'], ['Anna']),
    ('The Jean-Luc of Marie-Anne', ['jean luc'], ['Marie-Anne']),
    ('On ImageNet, GPT4 and I won', [], ['ImageNet', 'GPT4']),
    ('He likes Cleo, and Cleo likes Dora.', [], ['Cleo', 'Dora']),
    ('In a Great book the great end', [], []),  # it is a word of the text
    ('"Yes," she said.\n- Then\n2. Next: Ok; Fine', [], []),
    ('... Well? Well! Well… Well', [], []),
    ('ich sah Ärger bei Émile', ['émile'], ['Ärger']),
    ('он видел Анну', [], ['Анну']),
    ('猫がいる 猫', [], []),
    ('رأيت أحمد في القاهرة', [], []),
    ('', [''], []),
  ],
)
def test_names_from_nowhere(text, sources, expected):
  assert names.unsupported_names(text, sources) == expected


def test_a_text_of_one_long_line_is_read_once():
  text = 'then Cleo ' + 'x' * 300_000 + '. ' * 300_000
  assert names.unsupported_names(text, []) == ['Cleo']
