"""Tokenizers with chat templates in the forms of published models.

The templates are in words of our own and have the published ones' habits: a
system turn that nobody gave, blanks that are trimmed, thinking that can be
switched off, macros, refusals.
"""

import dataclasses
import functools
import json

from restpg_jax.io import checkpoints
from restpg_jax.text import fast_tokenizer
from tests import tiny
from tests.models import families
from tests.text import tokenizer_families

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
  {{ raise_exception('no system turns') }}
{%- endif -%}
{%- for message in messages -%}
  {%- set role = 'model' if message['role'] == 'assistant' else 'user' -%}
  {{ '<start_of_turn>' + role + '\\n' + message['content'] | trim }}
  {{- '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""
GEMMA4 = """{%- macro shown(content) -%}
  {%- if content is string -%}{{ content | trim }}
  {%- else -%}{% for part in content %}{{ part['text'] | trim }}{% endfor %}
  {%- endif -%}
{%- endmacro -%}
{{- bos_token -}}
{%- if enable_thinking is defined and enable_thinking -%}
  {{- '<|turn>system\\n<|think|><turn|>\\n' -}}
{%- endif -%}
{%- for m in messages -%}
  {%- set role = 'model' if m.role == 'assistant' else m.role -%}
  {{- '<|turn>' + role + '\\n' + shown(m.content) + '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn>model\\n' -}}{%- endif -%}
"""
SMOLLM2 = """{% for message in messages %}
{% if loop.first and message['role'] != 'system' %}
{{ '<|im_start|>system\\nYou are a helpful AI, made for a test<|im_end|>\\n' }}
{%- endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] }}
{{- '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
QWEN25 = """{%- if tools %}
    {{- '<|im_start|>system\\n# Tools' }}
    {%- for tool in tools %}{{ tool | tojson }}{% endfor %}
{%- elif messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are made for a test.<|im_end|>\\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role == 'assistant' and not m.tool_calls %}
        {{- '<|im_start|>' + m.role }}{% generation %}
        {{- '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endgeneration %}
    {%- else %}
        {{- '<|im_start|>' + m.role + '\\n' }}
        {{- m.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
QWEN3 = """{%- set ns = namespace(last=messages | length - 1) %}
{%- for m in messages[::-1] %}
    {%- if m.role == 'user' %}
        {%- set ns.last = loop.index0 %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {%- if m.role == 'assistant' and loop.last %}
        {{- '<think>\\n\\n</think>\\n\\n' + m.content.lstrip('\\n') }}
    {%- else %}{{- m.content }}{%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
LLAMA3 = """{{- bos_token }}
{%- if not today is defined %}
    {%- if strftime_now is defined %}
        {%- set today = strftime_now('%d %b %Y') %}
    {%- else %}
        {%- set today = '26 Jul 2024' %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}{%- set system = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}
{{- 'Today: ' + today + '\\n\\n' + system + '<|eot_id|>' }}
{%- for m in messages %}
    {{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' }}
    {{- m['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""


def gemma4():
  """The pieces of Gemma's file with the names of Gemma 4's turns."""
  content, notes = tokenizer_families.made('gemma_unigram')
  names = {b'<start_of_turn>': b'<|turn>', b'<end_of_turn>': b'<turn|>'}
  for old, new in names.items():
    content = content.replace(old, new)
  spec = json.loads(content)
  tool = {'id': 1024, 'content': '<|tool_response>', 'special': True}
  spec['added_tokens'].append(spec['added_tokens'][0] | tool)
  generation = {'eos_token_id': [1, 5, 1024]}
  return json.dumps(spec).encode(), notes | {
    'generation_config.json': generation
  }


# Name -> the tokenizer, its chat template, and what ends a model's turn.
CHATS = {
  'gemma': ('gemma_unigram', GEMMA, ['<end_of_turn>', '<eos>']),
  'gemma4': ('gemma4', GEMMA4, ['<turn|>', '<eos>', '<|tool_response>']),
  'smollm2': ('smollm2', SMOLLM2, ['<|im_end|>']),
  'qwen25': ('qwen', QWEN25, ['<|im_end|>']),
  'qwen3': ('qwen', QWEN3, ['<|im_end|>']),
  'llama3': (
    'llama3',
    LLAMA3,
    ['<|eot_id|>', '<|end_of_text|>'],
  ),
}


@functools.cache
def files(name) -> tuple[bytes, dict]:
  """A tokenizer.json and the notes beside it, without the chat template."""
  family = CHATS[name][0]
  return gemma4() if family == 'gemma4' else tokenizer_families.made(family)


@functools.cache
def load(name):
  return fast_tokenizer.FastTokenizer(*files(name))


def template(name) -> str:
  return CHATS[name][1]


def model(folder, name):
  """Writes a random model of Llama's class with such a tokenizer."""
  tokenizer = load(name)
  size = families.reduced('llama32_1b', *(2, 32, 48, 4, 2, 8))
  size = dataclasses.replace(size, vocabulary=tokenizer.vocab_size + 2)
  checkpoints.save_model(folder, tiny.parameters(size, 0.4), size)
  return write(folder, name)


def write(folder, name, *, jinja=True):
  """Writes a folder as people download it."""
  content, notes = files(name)
  folder.mkdir(exist_ok=True)
  (folder / 'tokenizer.json').write_bytes(content)
  notes = {'tokenizer_config.json': {}} | notes
  if jinja:
    (folder / 'chat_template.jinja').write_text(template(name))
  else:
    notes['tokenizer_config.json'] = notes['tokenizer_config.json'] | {
      'chat_template': template(name)
    }
  for note, value in notes.items():
    (folder / note).write_text(json.dumps(value))
  return folder
