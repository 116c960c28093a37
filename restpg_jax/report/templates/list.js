// A list of which only the rows on the screen exist.
class List {
  constructor(box, {fill, select}) {
    this.box = box;
    this.fill = fill;  // fill(row, item) writes what a row shows
    this.select = select;  // select(item) is called where a person chose it
    this.items = [];
    this.at = -1;
    this.space = element('div', undefined, 'space');
    this.space.role = 'presentation';
    box.append(this.space);
    box.addEventListener('scroll', () => this.draw());
    box.addEventListener('keydown', (event) => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(box);
  }

  // Shows other items; `item` is the current one.
  show(items, item) {
    this.items = items;
    this.at = items.indexOf(item);
    this.#reveal();
    this.draw();
  }

  step(by) {
    const at = Math.min(Math.max(this.at + by, 0), this.items.length - 1);
    if (at < 0 || at === this.at) return;
    this.at = at;
    this.#reveal();
    this.draw();
    this.select(this.items[at]);
  }

  draw() {
    const height = this.#rowHeight();
    this.space.style.height = `${this.items.length * height}px`;
    const from = Math.max(Math.floor(this.box.scrollTop / height) - 2, 0);
    const to = Math.min(
        from + Math.ceil(this.box.clientHeight / height) + 4,
        this.items.length);
    const rows = [];
    for (let n = from; n < to; n++) rows.push(this.#row(n, height));
    this.space.replaceChildren(...rows);
    if (this.at >= from && this.at < to) {
      this.box.setAttribute('aria-activedescendant', `row${this.at}`);
    } else {
      this.box.removeAttribute('aria-activedescendant');
    }
  }

  #row(n, height) {
    const row = element('div', undefined, 'row-of-list');
    row.id = `row${n}`;
    row.role = 'option';
    row.ariaSelected = String(n === this.at);
    row.ariaPosInSet = String(n + 1);
    row.ariaSetSize = String(this.items.length);
    row.style.top = `${n * height}px`;
    this.fill(row, this.items[n]);
    row.addEventListener('click', () => this.step(n - this.at));
    return row;
  }

  #rowHeight() {
    return parseFloat(getComputedStyle(this.box).getPropertyValue('--row'));
  }

  // Scrolls the current row into the list's window.
  #reveal() {
    const height = this.#rowHeight();
    const top = Math.max(this.at, 0) * height;
    const room = this.box.clientHeight - height;
    if (this.box.scrollTop > top) this.box.scrollTop = top;
    if (this.box.scrollTop < top - room) {
      this.space.style.height = `${this.items.length * height}px`;
      this.box.scrollTop = top - room;
    }
  }

  #key(event) {
    const page = Math.floor(this.box.clientHeight / this.#rowHeight());
    const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page,
      Home: -this.items.length, End: this.items.length};
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.step(steps[event.key]);
  }
}
