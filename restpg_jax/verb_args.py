"""The flags that single verbs of the command have, a dataclass a verb."""

import dataclasses

from restpg_jax import config


@dataclasses.dataclass(frozen=True)
class ClusterFlags:
  """Flags of `run` and `sweep`: this process among those of the run.

  '': as it is found.
  """

  coordinator: str = ''  # HOST:PORT, of process 0
  num_processes: str = ''
  process_id: str = ''


@dataclasses.dataclass(frozen=True)
class ConvertArgs:
  """The flags of the verb `convert` (source: --from)."""

  # A folder of weights, a stage's folder or a workdir.
  source: str = config.path_field()
  to: str = config.path_field()
  format: str = 'hf'
  dtype: str = 'float32'
  method: str = ''
  tokenizer: str = config.path_field()
  # Of an adapter: its base, read where --from is one of PEFT's, noted where
  # --format=peft writes one; a folder or, then, ORG/NAME on the hub.
  base: str = config.path_field()
  push: str = ''  # ORG/NAME on the hub, to which the folder goes as well
  dry_run: bool = False  # with push: only says what would go there


@dataclasses.dataclass(frozen=True)
class PreflightArgs:
  """The flags of the verb `preflight`."""

  topology: str = ''  # TPUs to compile for; '': the devices of this machine
  price: str = ''  # of an hour of a chip
  efficiency: str = '0.4'  # share of the peak that a run is assumed to reach


@dataclasses.dataclass(frozen=True)
class SweepArgs:
  """The flags of the verb `sweep`, which has those of run and preflight too."""

  index: str = ''  # the one member to run, from 0; '': all
  list: bool = False  # only say what the members are, reuse and cost


@dataclasses.dataclass(frozen=True)
class GenerateArgs:
  """The flags of the verb `generate`."""

  # JSON lines in LongLaMP's schema without `output`, or plain.
  input: str = config.path_field()
  output: str = config.path_field()
  method: str = ''  # '': the one that was finished last
  task: str = ''  # of rows that do not tell it


@dataclasses.dataclass(frozen=True)
class AuditArgs:
  """The flags of the verb `audit`."""

  method: str = ''  # whose reward; '': of the one that was finished last
  pairs: str = '100'  # of answers, for people to choose from; appendix A
  gap: str = '0.5'  # between the rewards of a pair, at least; appendix A
  ratings: str = '100'  # answers for people to rate from 1 to 5
  examples: str = '50'  # of each task, on which the reward is probed
  seed: str = '0'  # of what is drawn
  sheet: str = ''  # filled forms, FILE,FILE: only reads these


@dataclasses.dataclass(frozen=True)
class JudgeArgs:
  """The flags of the verb `judge`."""

  # JSON lines with `input`, `output` (the gold text) and `answer`.
  input: str = config.path_field()
  output: str = config.path_field()
  method: str = ''  # whose reward; '': of the one that was finished last


@dataclasses.dataclass(frozen=True)
class PrepareArgs:
  """The flags of the verb `prepare` (source: --from)."""

  source: str = config.path_field()  # a folder in LongLaMP's schema, or 'hub'
  to: str = config.path_field()
  # The licensed corpus' folder data/text, of zip files.
  avocado: str = config.path_field()
  # With it: the benchmark's {train,dev,test}_questions.json.
  ids: str = config.path_field()
  jobs: str = ''  # tasks prepared at once; '': as many as there are cores
