"""Uploads a folder to the Hugging Face hub: the door to its client for that.

The token comes from the environment alone and goes into no message.
"""

import os
from collections.abc import Callable
from typing import TypeVar

import huggingface_hub
from etils import epath
from huggingface_hub import errors as hub_errors
from huggingface_hub import utils as hub_utils

from restpg_jax import errors

TOKEN = 'HF_TOKEN'  # the environment's variable
# HTTPError is that of the client's own HTTP library, which its versions differ
# in: a host that is not reached raises it as it is.
FAILURES = (
  hub_errors.HTTPError,  # pyright: ignore[reportPrivateImportUsage]
  OSError,
  ValueError,
)
Result = TypeVar('Result')


def check_repository(repository: str) -> None:
  """Raises InputError where the hub can have no ORG/NAME of this name."""
  try:
    hub_utils.validate_repo_id(repository)
    valid = repository.count('/') == 1
  except hub_errors.HFValidationError:
    valid = False
  if not valid:
    raise errors.InputError(
      f'{repository!r} is no name on the hub; give ORG/NAME, of letters, '
      'digits, - _ and .'
    )


def check_account(repository: str) -> None:
  """Asks the hub who the token's owner is, before anything is computed.

  Raises InputError without a token, or where the hub refuses it or cannot be
  reached.
  """
  _calling(repository, huggingface_hub.HfApi.whoami)


def listing(folder: epath.Path) -> list[str]:
  """Returns the files that `upload` sends, with their bytes.

  ['config.json, 632 bytes', ..]
  """
  return [
    f'{name}, {(folder / name).stat().length:,} bytes'
    for name in _names(folder)
  ]


def upload(folder: epath.Path, repository: str, *, message: str) -> str:
  """Sends all files of a folder in one commit, and returns its address.

  A repository that is not there yet is created, private. Raises InputError
  where that fails; the folder stays as it is.
  """

  def send(api: huggingface_hub.HfApi) -> str:
    api.create_repo(repository, private=True, exist_ok=True)
    operations = [
      huggingface_hub.CommitOperationAdd(name, os.fspath(folder / name))
      for name in _names(folder)
    ]
    commit = api.create_commit(repository, operations, commit_message=message)
    return str(commit.commit_url)

  return _calling(
    repository, send, f'; {folder} is whole: hf upload {repository} {folder}'
  )


def _names(folder: epath.Path) -> list[str]:
  return sorted(
    os.fspath((inner / name).relative_to(folder))
    for inner, _, names in folder.walk()
    for name in names
  )


def _calling(
  repository: str,
  call: Callable[[huggingface_hub.HfApi], Result],
  remedy: str = '',
) -> Result:
  token = os.environ.get(TOKEN, '').strip()
  if not token:
    raise errors.InputError(
      f'--push={repository} needs a token with the right to write in the '
      f'environment, {TOKEN}=..; --dry_run needs none'
    )
  try:
    return call(huggingface_hub.HfApi(token=token))
  except FAILURES as error:
    detail = errors.detail(error).replace(token, '***')[:300]
    raise errors.InputError(
      f'--push={repository}: the hub cannot be reached or refuses ({detail})'
      f'{remedy}'
    ) from None  # the cause might hold the token
