// Marks words of a text. Every piece of it is set as textContent.

// Scripts without spaces between words: a character is a word there.
const UNSPACED = '[\\p{sc=Han}\\p{scx=Hira}\\p{scx=Kana}\\p{sc=Thai}' +
    '\\p{sc=Lao}\\p{sc=Khmer}\\p{sc=Mymr}]';
const WORD = new RegExp(
    `${UNSPACED}\\p{M}*|(?:(?!${UNSPACED})[\\p{L}\\p{N}_]\\p{M}*){2,}`, 'gu');

function element(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

const fold = (word) => word.normalize('NFKC').toLowerCase();

// The words of texts, without those that are common.
function wordsOf(texts, common) {
  const words = new Set();
  for (const text of texts) {
    for (const [word] of text.matchAll(WORD)) words.add(fold(word));
  }
  for (const word of common) words.delete(word);
  return words;
}

// A pattern of names as whole words; null for none.
function namePattern(names) {
  if (!names.length) return null;
  const escaped = names.map((n) => n.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'))
      .sort((a, b) => b.length - a.length);
  return new RegExp(
      `(?<![\\p{L}\\p{N}_])(?:${escaped.join('|')})(?![\\p{L}\\p{N}_])`, 'gu');
}

// The pieces of a text: [text, class], '' for what is not marked.
function* pieces(text, {gold, profile, names}) {
  let from = 0;
  for (const match of names ? text.matchAll(names) : []) {
    yield* sharedPieces(text.slice(from, match.index), gold, profile);
    yield [match[0], 'name'];
    from = match.index + match[0].length;
  }
  yield* sharedPieces(text.slice(from), gold, profile);
}

function* sharedPieces(text, gold, profile) {
  let from = 0;
  for (const match of text.matchAll(WORD)) {
    const word = fold(match[0]);
    const kinds = [gold?.has(word) && 'gold', profile?.has(word) && 'profile']
        .filter(Boolean).join(' ');
    if (!kinds) continue;
    yield [text.slice(from, match.index), ''];
    yield [match[0], kinds];
    from = match.index + match[0].length;
  }
  yield [text.slice(from), ''];
}

function markedText(name, text, marks) {
  const node = element(name, undefined, 'text');
  node.dir = 'auto';
  for (const [piece, kind] of pieces(text, marks)) {
    if (kind) node.append(element('mark', piece, kind));
    else if (piece) node.append(piece);
  }
  return node;
}
