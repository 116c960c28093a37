// The sample browser: controls above, a list of inputs, and one of them whole.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId('samples').textContent);
  const [view, task, iteration, search, methods, scores, measure, first, second,
    order, least, most, count, position, box] = ['view', 'task', 'iteration',
    'search', 'methods', 'scores', 'measure', 'first', 'second', 'order',
    'least', 'most', 'count', 'position', 'sample'].map(byId);
  const LAST = 'last', ALL = 'all';
  const TITLES = {test: 'answers to test inputs',
    reasoner: "the reasoner's summaries of training inputs"};
  const ORDERS = {file: 'as in the data', larger: 'A − B, largest first',
    smaller: 'A − B, smallest first', high: 'A, highest first',
    low: 'A, lowest first'};
  const elements = [...document.querySelectorAll('script.texts')];
  const texts = data.views.map((v) => new Texts(
      elements.slice(v.first,
          v.first + Math.ceil(v.examples.length / data.block)), data.block));
  let shown = [];  // the numbers of the runs side by side
  let current = 0;  // the input below the list
  let drawn = null;  // the input and the runs that are drawn there
  let turn = 0;  // of a search that waits for texts: the last one counts

  const here = () => data.views[view.value];
  const number = (value) => value == null ? '-' : String(+value.toFixed(3));
  const runTitle = (run) =>
      run.t === null ? run.method : `${run.method}, iteration ${run.t}`;

  function options(select, pairs, wanted) {
    select.replaceChildren(...pairs.map(([value, text]) => {
      const option = element('option', text);
      option.value = value;
      return option;
    }));
    const values = pairs.map(([value]) => String(value));
    select.value = values.includes(String(wanted)) ? wanted : values[0] ?? '';
  }

  // What there is to choose from in another view.
  function fillView() {
    const {runs, examples, measures} = here();
    const tasks = new Set(examples.map((e) => e.task));
    options(task, [['', 'all'],
      ...[...tasks].map((t) => [t, data.tasks[t] ?? t])], '');
    const ts = new Set(runs.map((r) => r.t).filter((t) => t !== null));
    options(iteration, [[LAST, 'last of each'],
      ...[...ts].sort((a, b) => a - b).map((t) => [t, t]), [ALL, 'all']], LAST);
    const boxes = [...new Set(runs.map((r) => r.method))].map((name) => {
      const label = element('label', undefined, 'switch');
      const input = element('input');
      input.type = 'checkbox';
      input.checked = true;
      input.value = name;
      label.append(input, name);
      return label;
    });
    methods.replaceChildren(methods.querySelector('legend'), ...boxes);
    options(measure, measures, 'reward');
    current = 0;
    fillRuns();
  }

  // Which runs stand side by side, and which of them are A and B.
  function fillRuns() {
    const {runs} = here();
    const names = new Set([...methods.querySelectorAll('input:checked')]
        .map((input) => input.value));
    const last = new Map(runs.map((run, n) => [run.method, n]));
    shown = [...runs.keys()].filter((n) => names.has(runs[n].method) &&
        (iteration.value === ALL || (iteration.value === LAST ?
            last.get(runs[n].method) === n :
            String(runs[n].t) === iteration.value)));
    const pairs = shown.map((n) => [n, runTitle(runs[n])]);
    options(first, pairs, pairs.some(([n]) => String(n) === first.value) ?
        first.value : shown.at(-1));
    options(second, pairs, second.value);
    filter();
  }

  const score = (run, n) => here().runs[run]?.scores[measure.value]?.[n] ?? null;

  function difference(n) {
    const [a, b] = [score(first.value, n), score(second.value, n)];
    return a === null || b === null ? null : a - b;
  }

  // Numbers in order; inputs without one come last.
  function sorted(numbers) {
    const [value, sign] = {
      file: [(n) => n, 1], larger: [difference, -1], smaller: [difference, 1],
      high: [(n) => score(first.value, n), -1],
      low: [(n) => score(first.value, n), 1]}[order.value];
    const by = new Map(numbers.map((n) => [n, value(n)]));
    const key = (n) => by.get(n) === null ? Infinity : sign * by.get(n);
    return numbers.sort((a, b) => key(a) - key(b) || a - b);
  }

  function inRange(n) {
    const [low, high] = [least.valueAsNumber, most.valueAsNumber];
    if (isNaN(low) && isNaN(high)) return true;
    const value = score(first.value, n);
    return value !== null && !(value < low) && !(value > high);
  }

  async function filter() {
    const mine = ++turn;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const store = texts[view.value];
    if (words.length && !store.done) {
      count.textContent = 'reading the texts …';
      await store.all();
      if (mine !== turn) return;
    }
    const {examples, runs} = here();
    const numbers = sorted([...examples.keys()].filter((n) =>
      (!task.value || examples[n].task === task.value) &&
        shown.some((run) => runs[run].scores.names[n] !== null) &&
        inRange(n) && (!words.length || store.holds(n, words, shown))));
    const some = numbers.length.toLocaleString('en');
    count.textContent =
        `${some} of ${examples.length.toLocaleString('en')} inputs`;
    if (!numbers.includes(current)) current = numbers[0] ?? -1;
    list.show(numbers, current);
    show();
  }

  function fillRow(row, n) {
    const about = here().examples[n];
    const start = element('span', about.start || '(empty)', 'start');
    start.dir = 'auto';
    row.append(element('span', data.tasks[about.task] ?? about.task, 'task'),
        start);
    const [a, b] = [score(first.value, n), score(second.value, n)];
    row.append(element('span', number(a), 'value'));
    if (shown.length < 2) return;
    const by = difference(n);
    const sign = by > 0 ? '+' : '';
    row.append(element('span', number(b), 'value'),
        element('span', by === null ? '-' : sign + number(by), 'value by'));
  }

  function chips(run, n) {
    const row = element('div', undefined, 'chips');
    for (const [key, title] of here().measures) {
      const value = run.scores[key]?.[n] ?? null;
      if (value === null || (key === 'names' && !value)) continue;
      const warn = key === 'names' ? 'chip warn' : 'chip';
      row.append(element('span', `${title} ${number(value)}`, warn));
    }
    if (run.cut.includes(n)) {
      row.append(element('span', 'cut at the output limit', 'chip warn'));
    }
    return row;
  }

  function part(parent, title, node) {
    const div = element('div');
    if (node) div.append(element('h4', title), node);
    parent.append(div);
  }

  // One run's column: title, numbers, answer, reasoning, each in its row.
  function column(run, n, [reasoning, answer, names], marks) {
    const node = element('article', undefined, 'column');
    const own = {...marks, names: namePattern(names)};
    node.append(element('h3', runTitle(run)), chips(run, n));
    const empty = answer === '' ? 'It is empty.' :
        'The answer marker was never reached.';
    if (here().key !== 'reasoner') {
      part(node, 'answer', answer ? markedText('p', answer, own) :
          element('p', empty, 'text quiet'));
    }
    // Last, though written first: so answers stand beside the gold text.
    part(node, 'reasoning',
        reasoning ? markedText('p', reasoning, own) : null);
    return node;
  }

  function documents(list, marks) {
    const node = element('details');
    const noun = list.length === 1 ? 'document' : 'documents';
    node.append(element('summary', `${list.length} retrieved ${noun}`));
    node.open = box.querySelector('details')?.open ?? false;
    const fill = () => {
      if (!node.open || node.children.length > 1) return;
      const items = element('ol', undefined, 'documents');
      items.append(...list.map((text) => markedText('li', text, marks)));
      node.append(items);
    };
    node.addEventListener('toggle', fill);
    fill();
    return node;
  }

  async function show() {
    const n = current, mine = here(), runs = shown;
    const at = list.at;
    byId('previous').disabled = at <= 0;
    byId('next').disabled = at < 0 || at === list.items.length - 1;
    if (n < 0) {
      position.textContent = '';
      drawn = null;
      box.replaceChildren(element('p', runs.length ?
          'No input fits.' : 'No method is chosen.', 'soft'));
      return;
    }
    position.textContent =
        `${(at + 1).toLocaleString('en')} of ` +
        `${list.items.length.toLocaleString('en')}: ${mine.examples[n].id}`;
    if (drawn?.n === n && drawn.runs === runs) return;
    const entry = await texts[view.value].get(n);
    if (n !== current || mine !== here() || runs !== shown) return;
    drawn = {n, runs};
    const gold = wordsOf([entry.gold], mine.common);
    const profile = wordsOf(entry.context, mine.common);
    const request = element('p', entry.input, 'text');
    request.dir = 'auto';
    const columns = element('div', undefined, 'columns');
    const user = element('article', undefined, 'column');
    user.append(element('h3', 'What the user wrote'), element('div'));
    part(user, 'gold text', markedText('p', entry.gold, {profile}));
    columns.append(user, ...runs.filter((run) => entry.runs[run]).map((run) =>
      column(mine.runs[run], n, entry.runs[run], {gold, profile})));
    box.replaceChildren(element('h3', 'Request'), request,
        documents(entry.context, {gold}), columns);
  }

  const list = new List(byId('list'), {fill: fillRow, select: (n) => {
    current = n;
    show();
  }});

  options(view, data.views.map((v, n) => [n, TITLES[v.key]]), 0);
  options(order, Object.entries(ORDERS), 'file');
  view.addEventListener('change', fillView);
  for (const node of [iteration, methods]) {
    node.addEventListener('change', fillRuns);
  }
  task.addEventListener('change', filter);
  scores.addEventListener('change', ({target}) => {
    if (target.tagName !== 'SELECT') return;
    current = -1;  // in another order the first input is the one to look at
    filter();
  });
  for (const node of [search, least, most]) {
    node.addEventListener('input', filter);
  }
  byId('previous').addEventListener('click', () => list.step(-1));
  byId('next').addEventListener('click', () => list.step(1));
  byId('browser').addEventListener('keydown', (event) => {
    const typing = ['INPUT', 'SELECT'].includes(event.target.tagName) &&
        event.target.type !== 'checkbox';
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'j') list.step(1);
    if (event.key === 'k') list.step(-1);
  });
  for (const id of ['shared', 'names']) {
    byId(id).addEventListener('change', ({target}) =>
      byId('browser').classList.toggle(`no-${id}`, !target.checked));
  }
  fillView();
  // So that the first search need not wait.
  addEventListener('load', () => texts.forEach((store) => store.all()));
})();
