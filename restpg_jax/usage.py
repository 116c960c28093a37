"""The text of --help."""

USAGE = """\
REST-PG: teaches a language model to reason over a user's own documents.

python -m restpg_jax.main [VERB] --config=FILE[:ARG] --workdir=DIR [flags]

Verbs (run is the default):
  run        Runs the methods of the config and reports on them.
  report     Rebuilds WORKDIR/report from all methods that are finished there.
  convert    Writes a trained policy as a folder that other tools open.
  generate   Writes for users with a trained policy: --input to --output.
  audit      Probes the judge, and writes forms by which people judge it.
  judge      Scores anybody's texts with a run's reward: --input to --output.
  preflight  Compiles all programs of a run and says what it needs and takes.
  prepare    Makes a TFDS data set of the benchmark's files, or of your own.
  doctor     Says what a run needs, how to get it, and what its data is like.
  sweep      Runs the members of a sweep in one workdir, what they share once.

Flags:
  --config=FILE[:ARG]    experiment: a file of configs/, get_config(ARG);
                         FILE:KEY=VALUE,FLAG where it has several arguments
  --config.KEY=VALUE     override a setting: --config.train.steps=100
                         (all settings with their meaning: restpg_jax/config.py)
  --workdir=DIR          everything is kept here (a folder or gs://...); the
                         same command again goes on where it stopped
  --until=NAME           stop each method after its last stage called NAME or
                         NAME/...; methods without one are left out
  --help                 this

Flags of sweep, whose --config has a function sweep() (docs/sweeps.md):
  --sweep.KEY=A,B,C      a member for each value of a setting, times those of
                         other such flags and of sweep()
  --index=K              runs this member only, from 0
  --list                 only says what each member is, what it reuses and
                         takes; --topology, --price, --efficiency as below

Flags of run and sweep on several hosts, the same command on each
(docs/pods.md); a TPU pod, GKE and SLURM need none of them:
  --coordinator=HOST:PORT  process 0's own address, from which all begin
  --num_processes=N      one on each host; 1: this one alone, wherever it is
  --process_id=K         this one's number, from 0 to N-1

Flags of convert:
  --from=WHAT            a folder of weights, a stage's folder, or a workdir:
                         what the last finished method chose in its last
                         iteration
  --method=NAME          instead of that one; where there are several of a name,
                         NAME-DIGEST of WORKDIR/methods or its label in a report
  --to=DIR               a new folder; it appears when it is whole
  --format=hf|gemma|peft  for transformers, for DeepMind's gemma package, or
                         only the adapters (train.lora), for PEFT
  --dtype=TYPE           float32 (default), bfloat16 or float16
  --tokenizer=FILE       where the run does not say which
  --base=DIR             the base of an adapter: where --from is one of PEFT's,
                         or, with --format=peft, what it names (or ORG/NAME)
  --push=ORG/NAME        uploads DIR to the Hugging Face hub as well; the token
                         is HF_TOKEN of the environment
  --dry_run              with --push: only says which files would go there

Flags of generate, beside --workdir=DIR of a run with a finished method:
  --input=FILE           a JSON object a line: input, profile and, if you like,
                         id and task; LongLaMP's rows, or texts as profile
  --output=FILE          a new file, a line a row: id, task, reasoning, answer,
                         ended; it appears when it is whole
  --method=NAME          instead of the one that was finished last, as above
  --task=NAME            of rows that do not tell it
  --config=FILE          its section `compute` only: how this machine computes,
                         which may be another than the one that trained

Flags of audit, beside --workdir=DIR of a finished run (docs/audit.md):
  --method=NAME          whose reward, as above
  --pairs=100            pairs of answers that people choose from, at most
  --gap=0.5              how far the rewards of a pair are apart, at least
  --ratings=100          answers that people rate, at most
  --examples=50          of each task, on which the judge is probed; 0: none
  --seed=0               of what is drawn
  --sheet=FILE,FILE      filled forms: only says how people agree with the judge
  --config=FILE          its section `compute` only, as for generate

Flags of judge, beside --workdir=DIR of a run with a finished method:
  --input=FILE           a JSON object a line: input, output (the gold text),
                         answer and, if you like, id
  --output=FILE          a new file, a line a row: id, reward from 0 to 1, cut
  --method=NAME          whose reward, as above
  --config=FILE          its section `compute` only, as for generate

Flags of preflight, which needs no weights, tokenizer or data:
  --topology=v4:4x4x4    TPUs that it compiles for, without having them (v4,
                         v5e, v5p, v6e; needs the extra [tpu]); default: the
                         devices of this machine
  --price=NUMBER         of an hour of a chip
  --efficiency=0.4       share of the chips' peak that a run is assumed to reach
  --workdir=DIR          where preflight.json is written; default: here

Flags of prepare, which needs no --config but takes its section `data`:
  --from=DIR|hub         the benchmark's folders product_review_user and so on,
                         or `custom`, rows of your own users; hub: downloads
                         the public tasks
  --to=DIR               a data set for TFDS; a run reads it by
                         --config.data.path=DIR/longlamp
  --avocado=DIR          the licensed mails, data/text of LDC2015T03, with
  --ids=DIR              the benchmark's train_, dev_ and test_questions.json:
                         makes the e-mail task
  --jobs=N               tasks at once; default: as many as there are cores

The doctor writes doctor.json and doctor.html into --workdir=DIR; default: here.

Exit codes, the same on all hosts: 0 done, 2 bad input, flag or config, 75
interrupted, or a host is gone (run the same command again; as after 134, by
which the runtime ends), 141 nobody reads the output any more, 1 anything else,
and a sweep of which a member failed.
"""
