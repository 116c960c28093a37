"""Prompts are those of transformers' apply_chat_template."""

import pytest
import transformers

from restpg_jax import config
from restpg_jax.engines import tokenizer_files, turn_files
from tests.text import chat_families, tokenizer_families

pytestmark = pytest.mark.slow

TEXTS = (
  *tokenizer_families.TEXTS[:4],
  '',
  ' \n Hi, 10 letters.\n',
  '\n\nuser\nassistant\n',
  'tea \U0001f98a 猫\t',
)


@pytest.mark.parametrize('jinja', [True, False])
@pytest.mark.parametrize('name', chat_families.CHATS)
def test_ids_are_those_of_transformers(name, jinja, tmp_path):
  folder = chat_families.write(tmp_path / 'm', name, jinja=jinja)
  model = config.Model(tokenizer=str(folder))
  ours = tokenizer_files.read_tokenizer(folder)
  chat = turn_files.read_turns(model, ours)
  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  for text in TEXTS:
    # Gemma's own form keeps the blanks of a text, as it did before templates
    # were read.
    shown = text.strip() if name == 'gemma' else text
    ids = theirs.apply_chat_template(
      [{'role': 'user', 'content': shown}],
      tokenize=True,
      add_generation_prompt=True,
      enable_thinking=False,  # as a judge's label opens its turn
      today='26 Jul 2024',  # what Llama 3's takes where it is given no clock
      return_dict=False,
    )
    assert chat.prompt(ours, shown) == ids, text
