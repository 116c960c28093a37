"""Every setting, a dataclass a section.

The defaults are the paper's but for `retrieval.name` (BM25 needs no weights),
`select.distinct` (on) and the bundled models; configs/paper.py has its own.
Sources are sections of arXiv 2501.04167 or, where the paper is silent, our
reading (docs/reading_the_paper.md). A field's metadata says how it enters the
fingerprint of a stage: FILE fields by the content of what they name, CODE
fields by value and, where that is a 'module:function', by the module's code
(io/code.py), LOCAL fields (they cannot change results) and EXTENDABLE fields
(how far an extensible store reaches, see io/artifacts.py) not at all,
OMIT_AT_DEFAULT fields where they have another value than their default, all
others by value.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

FILE = {'fingerprint': 'content'}
CODE = {'fingerprint': 'code'}
LOCAL = {'fingerprint': 'none'}
EXTENDABLE = {'fingerprint': 'extent'}
OMIT_AT_DEFAULT = {'fingerprint': 'unless default'}
TURNS = 'gemma', 'gemma4', 'chatml', 'llama3', 'none'  # text/turns.py


def section(cls: Callable[[], Any], reads: str = '') -> Any:
  """Returns a field whose default is a fresh `cls()`; `reads` as below."""
  return dataclasses.field(default_factory=cls, metadata={'reads': reads})


def path_field(default: str = '', reads: str = '', names: tuple = ()) -> Any:
  """Returns a field for a path, or for a bundled asset (assets/NAME).

  In a folder only the files that are read count: `reads`, a key of
  engines/input_files.py, says which; '' is for settings that name one file.
  With `names`, which are no paths, it is in no fingerprint at its default.
  """
  return dataclasses.field(
    default=default, metadata=FILE | {'reads': reads, 'names': names}
  )


def is_path(field: dataclasses.Field[Any]) -> bool:
  """Returns whether a setting names a file or a folder."""
  return field.metadata.get('fingerprint') == 'content'


def code(default: str) -> Any:
  """Returns a field for a built-in name, or 'package.module:function'."""
  return dataclasses.field(default=default, metadata=CODE)


def local_field(default: Any) -> Any:
  """Returns a field for a setting that cannot change results."""
  return dataclasses.field(default=default, metadata=LOCAL)


def omitted_at_default(default: Any) -> Any:
  """Returns a field for a setting that older workdirs do not have.

  At its default it changes nothing, fingerprints included, so that they are
  found again.
  """
  return dataclasses.field(default=default, metadata=OMIT_AT_DEFAULT)


def extendable() -> Any:
  """Returns a field, without default, for the number of samples in a store."""
  return dataclasses.field(metadata=EXTENDABLE)


@dataclasses.dataclass
class World:
  """The synthetic users (data/world.py), used when `data.path` is empty."""

  seed: int = 0
  train: int = 1000  # examples, over all four tasks
  val: int = 160
  test: int = 600


@dataclasses.dataclass
class Data:
  """Which examples."""

  # A folder in LongLaMP's schema; empty: data.world.
  path: str = path_field(reads='data')
  setting: str = 'user'  # or 'temporal'; appendix B uses 'user'
  limit: int = 0  # at most so many rows of each task and split; 0 = all
  # Characters kept of a text; some have 2**28.
  max_text: int = omitted_at_default(100_000)
  # At a row that cannot be used; 'skip': list it, go on.
  on_error: str = omitted_at_default('stop')
  # What is left out of profiles, in training and evaluation (data/copies.py).
  # dedupe: documents that repeat an earlier one; drop_leaks: near-copies of the
  # gold output.
  dedupe: bool = omitted_at_default(False)
  drop_leaks: bool = omitted_at_default(False)
  world: World = section(World)


@dataclasses.dataclass
class Retrieval:
  """Section 4.1: the documents a prompt may show."""

  name: str = 'bm25'  # contriever, bm25, recency, random or none
  k: int = 5  # section 4.1
  # Of contriever: a folder, Hugging Face's form.
  encoder: str = path_field(reads='encoder')
  # Share of the test users who get the profile of another one; Figure 5.
  shuffle: float = 0.0


@dataclasses.dataclass
class Model:
  """A checkpoint with its tokenizer."""

  checkpoint: str = path_field('tiny_pt', reads='weights')
  # A file, or the folder that holds it.
  tokenizer: str = path_field('tiny.spm.model', reads='tokenizer')
  # Of a reasoner or judge: TURNS or a file with a chat template; '': its own.
  turns: str = path_field(names=TURNS)
  # Of an adapter of PEFT: the folder of its base; '': what the adapter names.
  base: str = path_field(reads='weights', names=('',))


@dataclasses.dataclass
class Prompt:
  """What the policy reads and may write."""

  template: str = path_field('prompts/policy.txt')
  max_input: int = 5120  # tokens; appendix B
  max_output: int = 1536  # tokens, reasoning and answer; appendix B


@dataclasses.dataclass
class Reason:
  """Section 3.1, reasoning data: a larger model explains the gold output."""

  model: Model = section(lambda: Model('tiny_it'), reads='turns')
  template: str = path_field('prompts/reasoner.txt')
  temperature: float = 0.7
  top_p: float = 0.95
  max_input: int = 8192
  max_output: int = 512
  dtype: str = 'float32'  # or 'bfloat16'
  tries: int = 3  # draws before an example is dropped and counted
  # Reasoning that reached max_output: half a summary is no target; or 'keep'.
  cut_off: str = omitted_at_default('drop')


@dataclasses.dataclass
class Sample:
  """How the policy's outputs are drawn."""

  m: int = 32  # outputs an input; section 4.1
  temperature: float = 0.7
  top_p: float = 0.95  # nucleus, size not stated
  top_k: int = 0  # the likeliest tokens only; 0: all
  dtype: str = 'float32'  # of weights, keys and values; or 'bfloat16'


@dataclasses.dataclass
class Draw(Sample):
  """Section 3.2, expectation step: the outputs of an input.

  With `rounds`, say (16, 32), the first 16 are drawn and scored, and the rest
  only of inputs whose kept outputs they can still change: the same are kept.
  """

  rounds: tuple[int, ...] = ()  # rising, the last is m; (): all at once


@dataclasses.dataclass
class Reward:
  """Section 2 and appendix A: R(x, y, y_hat)."""

  name: str = code('judge')  # 'rouge', 'cosine', 'mix', 'package.module:build'
  model: Model = section(lambda: Model('tiny_it'), reads='turns')
  template: str = path_field('prompts/judge.txt')
  max_input: int = 8192
  dtype: str = 'float32'  # of the judge; or 'bfloat16'
  rule: str = 'argmax'  # the judge's likeliest label; 'expected': their mean
  encoder: str = path_field(reads='encoder', names=('',))  # of cosine
  mix: tuple[str, ...] = omitted_at_default(())  # ('judge:0.7', 'rouge:0.3')


@dataclasses.dataclass
class Evaluate:
  """What is measured of each test answer beside its reward.

  Of rouge1, rouge2, rougeL, rougeLsum, bleu, corpus_bleu, meteor (needs NLTK's
  data), cosine (needs an encoder) and judge (that of `reward`, for runs with
  another reward); none of them decides anything.
  """

  metrics: tuple[str, ...] = (
    *('rouge1', 'rouge2', 'rougeL', 'rougeLsum', 'bleu', 'corpus_bleu'),
  )
  encoder: str = path_field(reads='encoder')  # of cosine; empty: retrieval's
  # The judge of the test set, "full precision" in appendix B: 'float32' or
  # 'bfloat16', empty for reward.dtype; and the devices that share it, at most,
  # 0 for compute.shards.
  dtype: str = omitted_at_default('')
  shards: int = local_field(0)


@dataclasses.dataclass
class Select:
  """Section 3.2, expectation step: which outputs train the next policy."""

  rule: str = 'threshold'  # reward >= threshold; 'best': best label, >= floor
  threshold: float = 1.0
  floor: float = 0.7
  limit: int = 10  # outputs an input
  distinct: bool = True  # identical texts of an input count once


@dataclasses.dataclass
class Lora:
  """Low-rank adapters, for a device that cannot hold a full training state."""

  rank: int = 0  # 0: none, all weights are trained, as in the paper
  alpha: float = 16.0  # what adapters add is multiplied by alpha / rank
  targets: tuple[str, ...] = ('q', 'k', 'v', 'out', 'gate', 'up', 'down')


@dataclasses.dataclass
class Train:
  """SFT and M-step: one trainer; appendix B."""

  steps: int = 10_000
  batch_size: int = 64
  warmup: int = 250
  learning_rate: float = 5e-6
  final_rate: float = 0.1  # share of the rate left at the last step
  weight_decay: float = 0.01  # decoupled: w -= lr(t) * decay * w
  clip: float = 1.0  # global norm
  optimizer: str = 'adafactor'
  checkpoint_every: int = 1000
  compute_dtype: str = 'bfloat16'  # weights and optimizer stay float32
  lora: Lora = section(Lora)


@dataclasses.dataclass
class Choose:
  """The checkpoint that is best on validation."""

  examples: int = 1024  # at most, of each task; appendices B and D
  # False: when the choice is on disk, the other checkpoints and all states of
  # the optimizer are removed.
  keep_all: bool = local_field(False)


@dataclasses.dataclass
class Compute:
  """Where and in which pieces; never changes results beyond rounding."""

  # Drawing. A group of slots works on one input; 0: as many as the memory
  # allows (sampling/budget.py).
  prompts: int = local_field(0)  # groups on a device, in every stage alike
  samples: int = local_field(0)  # slots of a group; 0: a quarter of m, 1 to 32
  slots: int = local_field(512)  # on a device, at most, where prompts is 0
  memory: float = local_field(0.0)  # GiB of a device; 0: 90 % of what it has
  shards: int = local_field(1)  # devices that share a model too large for one
  cpu_devices: int = local_field(0)  # that share a CPU's cores; 0: one for all
  judged: int = local_field(64)  # answers a device scores at once, at most
  # The mesh of training (parallel/mesh.py); data is what these leave of it.
  # Devices that share each weight; 0: all, at most 16.
  fsdp: int = local_field(0)
  # Those that share each row, too; 0: 1, more on large TPUs.
  sequence: int = local_field(0)
  # Devices that share a layer's heads and hidden units.
  model: int = local_field(1)
  # Training: examples share rows, rows a micro-batch (training/packing.py).
  rows: int = local_field(0)  # of a device in a micro-batch; 0: what packs best
  row_length: int = local_field(0)  # tokens; 0: a few lengths, what packs best
  attention: str = local_field('')  # models/packed.py; empty: by kind of device
  remat: str = local_field('')  # models/decoder.py; empty: full, on a CPU none
  log_every: int = local_field(10)  # optimizer steps between metric lines
  cache: bool = local_field(True)  # programs, in WORKDIR/compiled
  # Runs on several hosts (docs/pods.md), all but `patience`.
  joining: int = local_field(300)  # seconds within which all hosts must come
  # Seconds without a sign of life after which a host counts as dead.
  silence: float = local_field(20.0)
  # Minutes without progress after which a run ends, to be started again.
  patience: float = local_field(60.0)


@dataclasses.dataclass
class Config:
  """One experiment."""

  seed: int = 0
  methods: tuple[str, ...] = ('rest_pg',)  # rows of Table 1, restpg.METHODS
  iterations: int = 3  # T
  fresh_start: bool = True  # M-steps start at the base; Figure 4
  # Where metrics go as well: 'tensorboard' or 'package.module:build'.
  track: str = local_field('')
  data: Data = section(Data)
  retrieval: Retrieval = section(Retrieval)
  policy: Model = section(Model)
  prompt: Prompt = section(Prompt)
  reason: Reason = section(Reason)
  draw: Draw = section(Draw)
  answer: Sample = section(lambda: Sample(m=1, temperature=0.1))
  reward: Reward = section(Reward)
  evaluate: Evaluate = section(Evaluate)
  select: Select = section(Select)
  train: Train = section(Train)
  choose: Choose = section(Choose)
  compute: Compute = section(Compute)
