'use strict';
// The sample browser. Every text is set as textContent, never as markup.
(() => {
  const data = JSON.parse(document.getElementById('samples').textContent);
  const byId = (id) => document.getElementById(id);
  const [method, iteration, task, search, example] =
      ['method', 'iteration', 'task', 'search', 'example'].map(byId);
  let matches = [];

  const number = (value) => value === null ? '-' : value.toFixed(3);

  function element(name, text, className) {
    const node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  function options(select, pairs, wanted) {
    select.replaceChildren(...pairs.map(([value, text]) => {
      const option = element('option', text);
      option.value = value;
      return option;
    }));
    const values = pairs.map(([value]) => String(value));
    select.value = values.includes(String(wanted)) ? wanted : values[0] ?? '';
  }

  function run() {
    return data.runs.find(
        (r) => r.method === method.value && String(r.t) === iteration.value);
  }

  function found(sample, words) {
    const about = data.examples[sample.example];
    if (task.value && about.task !== task.value) return false;
    const text = [about.id, about.input, about.gold, sample.reasoning,
      sample.answer ?? '', ...about.context].join('\n').toLowerCase();
    return words.every((word) => text.includes(word));
  }

  function fillMethods() {
    const names = new Map(data.runs.map((r) => [r.method, r.title]));
    options(method, [...names], [...names.keys()].pop());
    fillIterations();
  }

  function fillIterations() {
    const ts = data.runs.filter((r) => r.method === method.value)
        .map((r) => [r.t, String(r.t)]);
    options(iteration, ts, ts[ts.length - 1][0]);
    fillTasks();
  }

  function fillTasks() {
    const here = new Set(
        run().samples.map((s) => data.examples[s.example].task));
    options(task, [['', 'all'],
      ...[...here].map((t) => [t, t.replace('_', ' ')])], task.value);
    fillExamples();
  }

  function fillExamples() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    matches = run().samples.filter((s) => found(s, words));
    options(example, matches.map((s) => {
      const about = data.examples[s.example];
      const start = about.input.slice(0, 60);
      return [s.example, `${number(s.reward)} · ${about.id} · ${start}`];
    }), example.value);
    show();
  }

  function section(parent, title, text, quiet) {
    parent.append(element('h3', title));
    parent.append(element('p', text, quiet ? 'text quiet' : 'text'));
  }

  function chips(sample) {
    const row = element('div', undefined, 'chips');
    row.append(element('span', `reward ${number(sample.reward)}`, 'chip'));
    if (sample.true_score !== null) {
      row.append(element(
          'span', `true score ${number(sample.true_score)}`, 'chip'));
    }
    for (const [name, title] of data.metrics) {
      if (!(name in sample.metrics)) continue;
      row.append(element(
          'span', `${title} ${number(sample.metrics[name])}`, 'chip'));
    }
    if (!sample.ended) {
      row.append(element('span', 'cut at the output limit', 'chip warn'));
    }
    return row;
  }

  function documents(texts) {
    const box = element('details');
    const noun = texts.length === 1 ? 'document' : 'documents';
    box.append(element('summary', `${texts.length} retrieved ${noun}`));
    const list = element('ol', undefined, 'documents');
    list.append(...texts.map((text) => element('li', text, 'text')));
    box.append(list);
    return box;
  }

  function show() {
    const at = matches.findIndex((s) => String(s.example) === example.value);
    byId('place').textContent =
        matches.length ? `${at + 1} of ${matches.length}` : 'none';
    byId('previous').disabled = at <= 0;
    byId('next').disabled = at < 0 || at === matches.length - 1;
    const box = byId('sample');
    const open = box.querySelector('details')?.open ?? false;
    box.replaceChildren();
    if (at < 0) {
      box.append(element('p', 'No sample holds all these words.', 'soft'));
      return;
    }
    const sample = matches[at];
    const about = data.examples[sample.example];
    box.append(chips(sample));
    section(box, `Prompt (${about.id})`, about.input);
    const texts = documents(about.context);
    texts.open = open;
    box.append(texts);
    if (sample.reasoning) section(box, 'Reasoning', sample.reasoning);
    const sides = element('div', undefined, 'sides');
    const [left, right] = [element('div'), element('div')];
    if (sample.answer === null) {
      section(left, 'Answer', 'The answer marker was never reached.', true);
    } else {
      section(left, 'Answer', sample.answer);
    }
    section(right, 'What the user wrote', about.gold);
    sides.append(left, right);
    box.append(sides);
  }

  function walk(step) {
    const at = matches.findIndex((s) => String(s.example) === example.value);
    example.value = matches[at + step].example;
    show();
  }

  method.addEventListener('change', fillIterations);
  iteration.addEventListener('change', fillTasks);
  task.addEventListener('change', fillExamples);
  search.addEventListener('input', fillExamples);
  example.addEventListener('change', show);
  byId('previous').addEventListener('click', () => walk(-1));
  byId('next').addEventListener('click', () => walk(1));
  fillMethods();
})();
