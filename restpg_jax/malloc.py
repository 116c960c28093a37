"""Keeps memory that was freed with this process until its stage ends.

Each call of a program on a CPU has one piece of memory for all its
intermediate arrays. glibc gives a piece of that size back to the system when it
is freed, so that every page of the next one is new: found, zeroed and mapped at
its first touch, one fault for each 4 KiB. What is kept costs a higher peak:
docs/performance.md has it.
"""

import ctypes

# Parameters of mallopt(3); the numbers are those of malloc.h.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
KEEP = (
  (ARENA_MAX, 1),  # one heap for all threads: the others cannot grow so far
  (MMAP_MAX, 0),  # nothing is mapped by itself
  (TRIM_THRESHOLD, -1),  # its end is given back by `trim` alone
)


def trim() -> None:
  """Gives free memory back to the system; does nothing without glibc.

  The next stage has programs of other sizes, which would not fit into it.
  """
  try:
    ctypes.CDLL(None).malloc_trim(0)
  except (AttributeError, OSError, TypeError):
    return


def keep() -> bool:
  """Makes glibc keep freed memory; returns whether it could be arranged.

  To be called before a second thread exists, so before NumPy and JAX are
  imported: threads that have a heap of their own keep it.
  """
  try:
    mallopt = ctypes.CDLL(None).mallopt
  except (AttributeError, OSError, TypeError):
    return False
  return all([mallopt(name, value) for name, value in KEEP])
