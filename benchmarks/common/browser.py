"""Drives headless Chromium over its own two pipes, without any package.

The protocol is Chromium's DevTools protocol: messages of JSON, each ended by a
zero byte, read by the browser from descriptor 3 and written to 4.
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

PROGRAM = shutil.which('chromium') or shutil.which('google-chrome')
FLAGS = (
  *('--headless=new', '--remote-debugging-pipe', '--no-sandbox'),
  *('--disable-gpu', '--no-first-run', '--disable-dev-shm-usage'),
)
# Physical keys are told by these codes; a character is its own text.
KEYS = {
  **{'ArrowDown': 40, 'ArrowUp': 38, 'Home': 36, 'End': 35},
  **{'PageUp': 33, 'PageDown': 34, 'Tab': 9},
}


class Page:
  """One tab: what it shows, and what its console says."""

  def __init__(self, read: int, write: int):
    self._read, self._write = read, write
    self._rest, self._number, self._session = b'', 0, None
    self._events: list[str] = []
    self.errors: list[str] = []  # messages of its console, and exceptions
    target = self.call('Target.createTarget', url='about:blank')
    self._session = self.call(
      'Target.attachToTarget', targetId=target['targetId'], flatten=True
    )['sessionId']
    for domain in ('Page', 'Runtime', 'Log'):
      self.call(f'{domain}.enable')

  def open(
    self, url: str, *, width: int = 1300, height: int = 900, dark: bool = False
  ) -> None:
    """Opens an address and waits until it is loaded."""
    self.call(
      'Emulation.setDeviceMetricsOverride',
      width=width,
      height=height,
      deviceScaleFactor=1,
      mobile=False,
    )
    self.call('Emulation.setScrollbarsHidden', hidden=True)
    scheme = {'name': 'prefers-color-scheme', 'value': 'dark'}
    self.call('Emulation.setEmulatedMedia', features=[scheme] if dark else [])
    self._events.clear()
    self.call('Page.navigate', url=url)
    while 'Page.loadEventFired' not in self._events:
      self._message()

  def evaluate(self, script: str) -> Any:
    """Returns the value of an expression, or of the promise that it is."""
    answer = self.call(
      'Runtime.evaluate',
      expression=script,
      awaitPromise=True,
      returnByValue=True,
    )
    if 'exceptionDetails' in answer:
      raise RuntimeError(answer['exceptionDetails'])
    return answer['result'].get('value')

  def press(self, key: str) -> None:
    """Presses a key where the focus is."""
    about = {'key': key, 'windowsVirtualKeyCode': KEYS.get(key, ord(key[0]))}
    text = {} if key in KEYS else {'text': key}
    self.call('Input.dispatchKeyEvent', type='keyDown', **about, **text)
    self.call('Input.dispatchKeyEvent', type='keyUp', **about)

  def screenshot(self, path: pathlib.Path, selector: str = 'body') -> None:
    """Writes a PNG of an element of the page."""
    box = self.evaluate(
      f'(() => {{ const r = document.querySelector({selector!r})'
      '.getBoundingClientRect(); return {x: r.x + scrollX, y: r.y + scrollY, '
      'width: r.width, height: r.height, scale: 1}; })()'
    )
    answer = self.call(
      'Page.captureScreenshot', clip=box, captureBeyondViewport=True
    )
    path.write_bytes(base64.b64decode(answer['data']))

  def call(self, method: str, **params: Any) -> dict[str, Any]:
    """Sends a command of the protocol and returns its answer."""
    self._number += 1
    message = {'id': self._number, 'method': method, 'params': params}
    if self._session:
      message['sessionId'] = self._session
    os.write(self._write, json.dumps(message).encode() + b'\0')
    while True:
      answer = self._message()
      if answer.get('id') == self._number:
        if 'error' in answer:
          raise RuntimeError(f'{method}: {answer["error"]}')
        return answer['result']

  def _message(self) -> dict[str, Any]:
    """Returns the next message; notes it where it is an event."""
    while b'\0' not in self._rest:
      piece = os.read(self._read, 1 << 20)
      if not piece:
        raise RuntimeError('the browser has ended')
      self._rest += piece
    text, _, self._rest = self._rest.partition(b'\0')
    message = json.loads(text)
    event = message.get('method', '')
    self._events.append(event)
    if event == 'Runtime.exceptionThrown':
      self.errors.append(str(message['params']['exceptionDetails']))
    elif event == 'Runtime.consoleAPICalled':
      self.errors.append(str(message['params']['args']))
    elif event == 'Log.entryAdded':
      self.errors.append(message['params']['entry']['text'])
    return message


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
  """Yields a tab of a browser with a profile of its own."""
  if not PROGRAM:
    raise FileNotFoundError('needs chromium or google-chrome')
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    (to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
    # Above 4, so that neither is overwritten before it is copied.
    ends = [fcntl.fcntl(n, fcntl.F_DUPFD, 10) for n in (to_read, from_write)]

    def give_pipes() -> None:
      for end, number in zip(ends, (3, 4), strict=True):
        os.dup2(end, number)

    process = subprocess.Popen(
      [PROGRAM, *FLAGS, f'--user-data-dir={profile}', 'about:blank'],
      preexec_fn=give_pipes,
      pass_fds=(3, 4),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    for end in (to_read, from_write, *ends):
      os.close(end)
    try:
      page = Page(from_read, to_write)
      yield page
      with contextlib.suppress(RuntimeError, OSError):
        page._session = None
        page.call('Browser.close')
    finally:
      process.kill()
      process.wait()
      os.close(from_read)
      os.close(to_write)
