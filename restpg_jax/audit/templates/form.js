'use strict';
// Keeps what was chosen in this browser, and saves it as a CSV file.
const {form, column} = document.body.dataset;
const items = [...document.querySelectorAll('fieldset')];
const save = document.getElementById('save');
const store = `restpg-form-${form}`;

const value = item => item.querySelector('input:checked')?.value ?? '';

function show() {
  const filled = items.filter(value).length;
  save.disabled = filled < items.length;
  document.getElementById('state').textContent =
      `${filled} of ${items.length} answered`;
}

function keep() {
  const chosen = items.map(item => [item.dataset.id, value(item)]);
  try {
    localStorage.setItem(store, JSON.stringify(Object.fromEntries(chosen)));
  } catch { /* a browser may forbid it: then it lasts as long as the page */ }
}

function restore() {
  let chosen = {};
  try {
    chosen = JSON.parse(localStorage.getItem(store)) ?? {};
  } catch { /* see above */ }
  for (const item of items) {
    for (const input of item.querySelectorAll('input')) {
      input.checked = input.value === chosen[item.dataset.id];
    }
  }
}

document.addEventListener('change', () => { keep(); show(); });
save.addEventListener('click', () => {
  // Ids and values are of the form itself: none needs quotes.
  const lines = items.map(item => `${item.dataset.id},${value(item)}`);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(
      new Blob([`id,${column}\n${lines.join('\n')}\n`], {type: 'text/csv'}));
  link.download = `filled-${form}.csv`;
  link.click();
});
restore();
show();
