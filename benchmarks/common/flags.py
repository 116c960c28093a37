"""Parses the command lines of benchmarks."""

import argparse
import json
import os
import pathlib
from typing import Any


def parser(doc: str | None) -> argparse.ArgumentParser:
  """Returns a parser whose --help prints the whole docstring of the script."""
  return argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )


def add_engines(arguments: argparse.ArgumentParser) -> None:
  """Adds the flags of a comparison whose engines are processes of their own."""
  arguments.add_argument('--rounds', type=int, default=5)
  arguments.add_argument('--keep', default='ours', help='see above')
  arguments.add_argument('--python', action='append', default=[])
  arguments.add_argument('--threads', type=int, default=os.cpu_count())
  arguments.add_argument('--json', type=pathlib.Path)


def pairs(texts: list[str]) -> dict[str, str]:
  """Splits flags: ['hf=2', 'gm=1'] -> {'hf': '2', 'gm': '1'}."""
  return dict(text.split('=', 1) for text in texts)


def write_json(path: pathlib.Path | None, results: Any) -> None:
  """Writes what --json=FILE keeps; nothing without that flag."""
  if path:
    path.write_text(json.dumps(results, indent=1) + '\n')
