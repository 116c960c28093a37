"""`prepare`: the benchmark's files, or one's own, as a TFDS data set."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Iterator

from etils import epath

from restpg_jax import config, errors, storage
from restpg_jax.data import avocado, builder, files, hub, longlamp, rows
from restpg_jax.io import fingerprints, records

HUB = 'hub'  # as --from
EMAIL = 'email_generation_user'


def prepare_data(asked: config.PrepareArgs, data: config.Data) -> None:
  """TO/longlamp/NAME/VERSION for each task and setting that is there.

  Each appears when it is whole; one that is there already, of the same content
  and settings, is kept.
  """
  check_prepare_args(asked, data)
  to = epath.Path(asked.to)
  sources = found(asked, data)
  if asked.avocado:
    sources[EMAIL] = build_mails(asked, data, to / 'avocado')
  work = [(name, source, to, data) for name, source in sources.items()]
  for line in _each(work, jobs=int(asked.jobs or os.cpu_count() or 1)):
    print(line, flush=True)
  print(f'a run reads them by --config.data.path={to / "longlamp"}')


def check_prepare_args(asked: config.PrepareArgs, data: config.Data) -> None:
  """Raises InputError for what cannot be prepared."""
  longlamp.check_data_settings(data)
  if not asked.to or not (asked.source or asked.avocado):
    raise errors.InputError(
      'prepare needs --to=DIR and --from=DIR, --from=hub or --avocado=DIR'
    )
  if storage.remote(asked.to):  # ArrayRecord writes files of this machine only
    raise errors.InputError(
      f'--to={asked.to}: give a local folder and copy it from there'
    )
  if bool(asked.avocado) != bool(asked.ids):
    raise errors.InputError(
      '--avocado and --ids belong together: the mails, and which the benchmark '
      'takes'
    )
  if asked.jobs and not (asked.jobs.isdecimal() and int(asked.jobs)):
    raise errors.InputError(
      f'--jobs={asked.jobs}: the value must be a number of tasks, 1 or more'
    )
  if asked.source and asked.source != HUB:
    found(asked, data)


def found(asked: config.PrepareArgs, data: config.Data) -> dict[str, str]:
  """Name -> the folder that has or will have its folder, '' for e-mail that
  is still to be made."""
  if asked.source == HUB:
    return {f'{task}_{data.setting}': HUB for task in hub.TASKS}
  if not asked.source:
    return {}
  source = epath.Path(asked.source)
  names = [name for name in builder.NAMES if (source / name).is_dir()]
  if not names:
    raise errors.InputError(
      f'{source}: none of the folders {", ".join(builder.NAMES)} in it; point '
      '--from at the folder that holds them'
    )
  for name in names:
    for split in files.NAMES:
      files.find_split(source / name, split)
  return {name: asked.source for name in names}


def build_mails(
  asked: config.PrepareArgs, data: config.Data, to: epath.Path
) -> str:
  """The e-mail task in the official builder's form, as TO/EMAIL."""
  skipped = []
  made = avocado.build_task(
    epath.Path(asked.avocado),
    epath.Path(asked.ids),
    to=to / EMAIL,
    unusable=rows.unusable(data.on_error, skipped),
  )
  if skipped:
    records.write(to / 'skipped.jsonl', skipped)
  also = f', {len(skipped):,} skipped ({to}/skipped.jsonl)' if skipped else ''
  print(f'{to / EMAIL}: {_rows(made)}{also}', flush=True)
  return str(to)


def one(name: str, source: str, to: epath.Path, data: config.Data) -> str:
  """Prepares a task and setting; what there is to say about it."""
  if source == HUB:
    source = hub.download(name, to / 'downloads').parent
  folder = epath.Path(source) / name
  content = fingerprints.content(folder, files.split_files(folder))
  made = builder.prepared_before(name, to)
  told = 'kept'
  if not made:
    made = builder.build_dataset(
      name,
      manual_dir=source,
      to=to,
      max_text=data.max_text,
      on_error=data.on_error,
      source=content,
    )
    told = 'prepared'
  counts = made['counts']
  skipped = any(c.get('skipped_rows') for c in counts.values())
  if (
    made['source'] != content
    or made['max_text'] != data.max_text
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
  of_split = {split: c['rows'] for split, c in counts.items()}
  return ', '.join([f'{name}: {told}, {_rows(of_split)}', *notes])


def _rows(of_split: dict[str, int]) -> str:
  each = ', '.join(f'{n:,} {split}' for split, n in of_split.items())
  return f'{each} rows'


def _each(work: list[tuple], *, jobs: int) -> Iterator[str]:
  """one(*args) for each, in order, some at once in processes of their own."""
  if min(jobs, len(work)) < 2:
    yield from (one(*args) for args in work)
    return
  with concurrent.futures.ProcessPoolExecutor(
    min(jobs, len(work)), multiprocessing.get_context('spawn')
  ) as pool:
    try:
      yield from pool.map(one, *zip(*work, strict=True))
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      for child in multiprocessing.active_children():
        child.terminate()
        child.join()
      raise
