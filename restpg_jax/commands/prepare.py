"""Turns the benchmark's files, or one's own, into a TFDS data set."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Iterator

from etils import epath

from restpg_jax import config, errors, storage, verb_args
from restpg_jax.data import avocado, builder, files, hub, longlamp, rows
from restpg_jax.io import fingerprints, records

HUB = 'hub'  # the value of --from that downloads the files
EMAIL = 'email_generation_user'


def prepare_data(args: verb_args.PrepareArgs, data: config.Data) -> None:
  """Writes TO/longlamp/NAME/VERSION for each task and setting of the source.

  Each appears when it is whole; one that exists already, of the same content
  and settings, is kept. Raises InputError for what cannot be prepared.
  """
  check_prepare_args(args, data)
  to = epath.Path(args.to)
  sources = find_sources(args, data)
  if args.avocado:
    sources[EMAIL] = build_mails(args, data, to / 'avocado')
  work = [(name, source, to, data) for name, source in sources.items()]
  for line in _prepare_each(work, jobs=int(args.jobs or os.cpu_count() or 1)):
    print(line, flush=True)
  print(f'a run reads them by --config.data.path={to / "longlamp"}')


def check_prepare_args(args: verb_args.PrepareArgs, data: config.Data) -> None:
  """Raises InputError for what cannot be prepared."""
  longlamp.check_data_settings(data)
  if not args.to or not (args.source or args.avocado):
    raise errors.InputError(
      'prepare needs --to=DIR and --from=DIR, --from=hub or --avocado=DIR'
    )
  if storage.remote(args.to):  # ArrayRecord writes files of this machine only
    raise errors.InputError(
      f'--to={args.to}: give a local folder and copy it from there'
    )
  if bool(args.avocado) != bool(args.ids):
    raise errors.InputError(
      '--avocado and --ids belong together: the mails, and which the benchmark '
      'takes'
    )
  if args.jobs and not (args.jobs.isdecimal() and int(args.jobs)):
    raise errors.InputError(
      f'--jobs={args.jobs}: the value must be a number of tasks, 1 or more'
    )
  if args.source and args.source != HUB:
    find_sources(args, data)


def find_sources(
  args: verb_args.PrepareArgs, data: config.Data
) -> dict[str, str]:
  """Returns the folder that holds each task's folder, by the task's name.

  It is HUB for what is to be downloaded. Raises InputError where a folder or a
  split is missing.
  """
  if args.source == HUB:
    return {f'{task}_{data.setting}': HUB for task in hub.TASKS}
  if not args.source:
    return {}
  source = epath.Path(args.source)
  names = [name for name in builder.NAMES if (source / name).is_dir()]
  if not names:
    raise errors.InputError(
      f'{source}: none of the folders {", ".join(builder.NAMES)} in it; point '
      '--from at the folder that holds them'
    )
  for name in names:
    for split in files.NAMES:
      files.find_split(source / name, split)
  return {name: args.source for name in names}


def build_mails(
  args: verb_args.PrepareArgs, data: config.Data, to: epath.Path
) -> str:
  """Writes the e-mail task in the official builder's form, as TO/EMAIL.

  Returns the folder `to`.
  """
  skipped = []
  counts = avocado.build_task(
    epath.Path(args.avocado),
    epath.Path(args.ids),
    to=to / EMAIL,
    unusable=rows.unusable(data.on_error, skipped),
  )
  if skipped:
    records.write(to / 'skipped.jsonl', skipped)
  also = f', {len(skipped):,} skipped ({to}/skipped.jsonl)' if skipped else ''
  print(f'{to / EMAIL}: {_rows(counts)}{also}', flush=True)
  return str(to)


def prepare_task(
  name: str, source: str, to: epath.Path, data: config.Data
) -> str:
  """Prepares a task and setting; returns a line that tells of it."""
  manual_dir = source
  if source == HUB:
    manual_dir = str(hub.download(name, to / 'downloads').parent)
  folder = epath.Path(manual_dir) / name
  content = fingerprints.content(folder, files.split_files(folder))
  record = builder.prepared_before(name, to)
  status = 'kept'
  if not record:
    record = builder.build_dataset(
      name,
      manual_dir=manual_dir,
      to=to,
      max_text=data.max_text,
      on_error=data.on_error,
      source=content,
    )
    status = 'prepared'
  counts = record['counts']
  skipped = any(c.get('skipped_rows') for c in counts.values())
  if (
    record['source'] != content
    or record['max_text'] != data.max_text
    or (skipped and data.on_error == 'stop')
  ):
    raise errors.InputError(
      f'{to / "longlamp" / name}: it is there, made of other files, with '
      'another data.max_text or without rows that were skipped; remove it, or '
      'give another --to'
    )
  notes = [
    f'{sum(c.get(key, 0) for c in counts.values()):,} {key.replace("_", " ")}'
    for key in sorted({key for c in counts.values() for key in c} - {'rows'})
    if any(c.get(key) for c in counts.values())
  ]
  num_rows = {split: c['rows'] for split, c in counts.items()}
  return ', '.join([f'{name}: {status}, {_rows(num_rows)}', *notes])


def _rows(num_rows: dict[str, int]) -> str:
  """Writes the number of rows of each split."""
  texts = ', '.join(f'{n:,} {split}' for split, n in num_rows.items())
  return f'{texts} rows'


def _prepare_each(
  work: list[tuple[str, str, epath.Path, config.Data]], *, jobs: int
) -> Iterator[str]:
  """Yields prepare_task(*args) of each, in order.

  Some run at once, in processes of their own.
  """
  if min(jobs, len(work)) < 2:
    yield from (prepare_task(*args) for args in work)
    return
  others = {*multiprocessing.active_children()}
  with concurrent.futures.ProcessPoolExecutor(
    min(jobs, len(work)), multiprocessing.get_context('spawn')
  ) as pool:
    try:
      yield from pool.map(prepare_task, *zip(*work, strict=True))
    except BaseException:
      # Left to itself, the pool would wait for the tasks that run; so it waits
      # for its processes to be gone.
      for child in {*multiprocessing.active_children()} - others:
        child.terminate()
      raise
