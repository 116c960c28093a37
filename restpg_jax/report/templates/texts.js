'use strict';
// The texts: blocks of gzip in base64, each unpacked when it is needed.

async function unpack(base64) {
  const packed = atob(base64);
  const bytes = new Uint8Array(packed.length);
  for (let n = 0; n < packed.length; n++) bytes[n] = packed.charCodeAt(n);
  const stream =
      new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return JSON.parse(await new Response(stream).text());
}

// The entries of one view, by the numbers of its inputs.
class Texts {
  constructor(elements, size) {
    this.elements = elements;
    this.size = size;
    this.entries = [];
    this.blocks = new Map();
    this.whole = null;
  }

  async get(n) {
    await this.#block(Math.floor(n / this.size));
    return this.entries[n];
  }

  // All of them, one block after another so that the page stays alive.
  all() {
    const read = async () => {
      for (let n = 0; n < this.elements.length; n++) await this.#block(n);
      this.done = true;
    };
    this.whole ??= read();
    return this.whole;
  }

  // Whether input n has each word in what all runs share, or in these runs.
  holds(n, words, runs) {
    const entry = this.entries[n];
    return words.every((word) => entry.shared.includes(word) ||
        runs.some((run) => entry.own[run]?.includes(word)));
  }

  #block(n) {
    if (!this.blocks.has(n)) this.blocks.set(n, this.#read(n));
    return this.blocks.get(n);
  }

  async #read(n) {
    const entries = await unpack(this.elements[n].textContent);
    this.elements[n].remove();  // read once: its memory is free again
    entries.forEach((entry, at) => {
      entry.shared = [entry.input, entry.gold, ...entry.context]
          .join('\n').toLowerCase();
      entry.own = entry.runs.map((run) => run &&
          `${run[0]}\n${run[1] ?? ''}`.toLowerCase());
      this.entries[n * this.size + at] = entry;
    });
  }
}
