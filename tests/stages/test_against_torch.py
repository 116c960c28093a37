"""Training beside PyTorch: the same weights, rows and settings."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from etils import epath

from restpg_jax import assets, config, types, verb_args
from restpg_jax.commands import convert
from restpg_jax.io import checkpoints, records
from restpg_jax.parallel import layout as layouts
from restpg_jax.stages import retrieve, train
from restpg_jax.training import batches, optimizer

pytestmark = pytest.mark.slow
STEPS, EXAMPLES = 50, 24
PROMPT = config.Prompt(
  template='prompts/tiny/policy.txt', max_input=64, max_output=24
)
TRAIN = config.Train(
  steps=STEPS,
  batch_size=4,
  warmup=5,
  learning_rate=1e-3,
  weight_decay=0.1,
  optimizer='adamw',
  compute_dtype='float32',
)


def files(folder):
  """Users' texts with rewards of 1 and less, as a stage reads them."""
  examples, _ = retrieve.load_examples(config.Data(), 'train')
  examples = list(itertools.islice(examples, EXAMPLES))
  records.write(folder / 'examples.jsonl', examples)
  rewards = [1.0, 0.7, 0.5]
  records.write(
    folder / 'trajectories.jsonl',
    [
      types.Trajectory(e.id, 0, e.output, reward=rewards[n % 3])
      for n, e in enumerate(examples)
    ],
  )


def torch_losses(rows, folder):
  """Of each step; each row by itself, without any padding."""
  torch.set_num_threads(1)  # small work, and the cores may be busy
  model = transformers.AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32
  )
  adamw = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
  rate = optimizer.schedule(1e-3, steps=STEPS, warmup=5, final_rate=0.1)
  losses = []
  for n in range(STEPS):
    chosen = batches.rows_of_step(len(rows), seed=0, step=n, size=4)
    total, count = 0.0, 0
    for row in (rows[i] for i in chosen):
      tokens = torch.tensor([row.tokens])
      weights = torch.tensor(row.weights[1:])
      logp = model(tokens).logits[0, :-1].log_softmax(-1)
      nll = -logp.gather(1, tokens[0, 1:, None])[:, 0]
      total = total + (weights * nll).sum()
      count += int((weights > 0).sum())
    adamw.zero_grad()
    (total / count).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in adamw.param_groups:
      group['lr'] = float(rate(n))
    adamw.step()
    losses.append(float(total.detach()) / count)
  return losses


def test_the_losses_of_50_steps_are_those_of_torch(tmp_path):
  work = epath.Path(tmp_path)
  files(work)
  params, size = checkpoints.restore_model(assets.path('tiny_pt'))
  checkpoints.save_model(work / 'start' / 'model', params, size)
  settings = train.TrainSettings(TRAIN, PROMPT, config.Model(), True, 0)
  train.train(
    work / 'start',
    work,
    work,
    out=work / 'out',
    cfg=settings,
    layout=layouts.Layout.of(config.Compute(log_every=1)),
  )
  ours = [
    line.loss
    for line in records.read(work / 'out/metrics.jsonl', train.TrainLog)
  ]
  convert.convert_policy(
    verb_args.ConvertArgs(
      source=str(assets.path('tiny_pt')),
      to=str(work / 'hf'),
      tokenizer='tiny.spm.model',
    )
  )
  outputs, _ = train.read_outputs(work, work, size, settings)
  rows = [output.row() for output in outputs]
  theirs = torch_losses(rows, work / 'hf')
  assert len(ours) == len(theirs) == STEPS
  assert np.abs(np.subtract(ours, theirs)).max() < 1e-3
  assert ours[-1] < 0.5 * ours[0]  # they have been somewhere
