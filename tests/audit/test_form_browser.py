"""The form in a real browser, where one is installed."""

import html
import pathlib
import re
import shutil
import subprocess

import pytest

from restpg_jax.audit import forms, sheets

pytestmark = pytest.mark.slow
BROWSER = shutil.which('chromium') or shutil.which('google-chrome')
HOSTILE = '</p><script>document.title = "broken"</script>'
# Answers all, saves, and writes into the page what would be the file.
FILL = """<script>
URL.createObjectURL = blob => {
  blob.text().then(text => {
    const out = document.createElement('pre');
    out.id = 'out';
    out.textContent = text;
    document.body.append(out);
  });
  return '#';
};
document.querySelectorAll('fieldset').forEach(
    (item, n) => item.querySelectorAll('input')[n % 2].click());
document.getElementById('save').click();
</script></body>"""


def dom(path: pathlib.Path) -> str:
  """Returns the page as the browser has it at last."""
  done = subprocess.run(
    [
      *(BROWSER, '--headless', '--no-sandbox', '--disable-gpu'),
      *('--virtual-time-budget=3000', '--dump-dom', path.as_uri()),
    ],
    capture_output=True,
    text=True,
    timeout=60,
    check=True,
  )
  return done.stdout


@pytest.mark.skipif(not BROWSER, reason='needs chromium or google-chrome')
def test_a_form_is_filled_and_read_back(tmp_path):
  texts = tuple(
    forms.Text(HOSTILE, 'sft', 0, 0, reward, None) for reward in (0.1, 0.9)
  )
  items = tuple(
    forms.Item(f'abc-00{n}', 'e', 't', HOSTILE, HOSTILE, texts) for n in (1, 2)
  )
  form = forms.Form(forms.PAIRS, 'abc', items)
  _, page = sheets.write_form(tmp_path, form)
  shown = dom(page)
  assert '0 of 2 answered' in shown  # its own script runs, no other does
  assert '<title>Which text is nearer?</title>' in shown
  text = re.sub('<meta http-equiv="Content-Sec.*?>', '', page.read_text())
  (tmp_path / 'driven.html').write_text(text.replace('</body>', FILL))
  shown = dom(tmp_path / 'driven.html')
  (filled,) = re.findall(r'<pre id="out">(.*?)</pre>', shown, re.DOTALL)
  (tmp_path / 'filled.csv').write_text(html.unescape(filled))
  assert '2 of 2 answered' in shown
  sheet = sheets.read_sheet(tmp_path / 'filled.csv', tmp_path)
  assert sheet.values == ('A', 'B')
