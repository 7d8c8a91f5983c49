// Files in, drafts with their evidence out. All that is shown is text (textContent): reports are of unknown origin.

import * as api from './api.js';
import { Viewer } from './viewer.js';

const NEIGHBOURS = 5, FOUND = 12, FIRST = 3, AT_ONCE = 3;
const find = id => document.getElementById(id);
const el = (tag, properties = {}, ...children) => {
  const made = document.createElement(tag);
  const { attributes = {}, ...rest } = properties;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  Object.assign(made, rest);
  made.append(...children);
  return made;
};

const viewer = new Viewer(find('view'), { zoom: find('zoom'), level: find('level'), width: find('width'), invert: find('invert') });
const items = []; // { file, name, picture, replies: {method: reply}, asked: methods, error, button }
let server = null, current = null, waiting = [], running = 0;

// Studies of the pool

function xray(id) {
  const image = el('img', { className: 'xray', alt: `Radiograph of study ${id}`, loading: 'lazy' });
  api.thumbnail(id).then(address => { image.src = address; }, () => { image.alt = 'No picture'; });
  return image;
}

const near = similarity => `similarity ${similarity.toFixed(3)}`;

function studyCard(found, report) {
  return el('li', { className: 'study' }, xray(found.study_id),
    el('div', {}, el('h3', { textContent: `${found.study_id} · ${near(found.similarity)}` }), report));
}

const asText = report => el('p', { textContent: report });
const asMarked = sentences => el('p', {}, ...sentences.flatMap(({ text, stands }) =>
  [stands ? el('mark', { className: stands, title: stands === 'agrees' ? 'agrees with the draft' : 'contradicts the draft', textContent: text }) : text, ' ']));

// The evidence of a sentence

function evidence(sentence) {
  const box = el('div', { className: 'evidence' });
  const part = (title, sources) => {
    if (!sources.length) return;
    const list = el('ul', { className: 'studies' });
    const add = some => list.append(...some.map(source => {
      const text = el('p', { textContent: '…' });
      api.study(source.study_id).then(study => { text.textContent = study.report; }, fault => { text.textContent = fault.message; });
      return studyCard(source, text);
    }));
    add(sources.slice(0, FIRST));
    box.append(el('h3', { textContent: title }), list);
    if (sources.length > FIRST) {
      const more = el('button', { type: 'button', textContent: `${sources.length - FIRST} more` });
      more.addEventListener('click', () => { more.remove(); add(sources.slice(FIRST)); });
      box.append(more);
    }
  };
  const count = (sources, says) => `${sources.length} ${sources.length === 1 ? 'study says' : 'studies say'} ${says}`;
  part(count(sentence.evidence, 'so'), sentence.evidence);
  part(count(sentence.against, 'the contrary'), sentence.against);
  if (!sentence.evidence.length) box.prepend(el('h3', { textContent: 'No neighbour says the same in whole.' }));
  return box;
}

// Where a sentence is seen: over the picture, of the sentence that was opened last

let pointed = null;

async function point(sentence, note) {
  const item = current;
  pointed = sentence;
  viewer.overlay(null);
  if (!sentence) return;
  note.textContent = 'Looking where…';
  try {
    const bitmap = await createImageBitmap(await api.region(item.file, sentence.text));
    const { pointing, studies } = server.regions[sentence.region];
    note.textContent = 'Orange on the picture: what speaks for this sentence, as the model sees it. '
      + `Of ${studies} drawn radiographs that show the like, it pointed at it in ${Math.round(100 * pointing)} %; `
      + 'with real ones that has not been tested.';
    if (pointed === sentence && current === item) viewer.overlay(bitmap);
    else bitmap.close();
  } catch (fault) {
    if (!(fault instanceof api.Refused)) throw fault;
    note.textContent = fault.message;
  }
}

function sentenceLine(sentence, number) {
  const percent = `${Math.round(100 * sentence.share)} %`, id = `evidence-${number}`;
  const button = el('button', { type: 'button', className: 'sentence', title: `${percent} of the neighbours' vote`,
    attributes: { 'aria-expanded': 'false', 'aria-controls': id } },
    el('span', { textContent: sentence.text }),
    el('progress', { className: 'share', value: sentence.share, max: 1, attributes: { 'aria-label': 'share of the vote' } }),
    el('span', { className: 'count', textContent: percent }));
  if (sentence.against.length) {
    const says = sentence.against.length === 1 ? 'says' : 'say';
    button.append(el('span', { className: 'against', textContent: `${sentence.against.length} of the neighbours ${says} the contrary` }));
  }
  const box = el('div', { id, hidden: true }), note = el('p', { className: 'quiet region', hidden: !sentence.region });
  button.addEventListener('click', () => {
    if (!box.firstChild) box.append(note, evidence(sentence));
    box.hidden = !box.hidden;
    button.setAttribute('aria-expanded', String(!box.hidden));
    if (sentence.region && !box.hidden) point(sentence, note);
    else if (pointed === sentence) point(null);
  });
  return el('li', {}, button, box);
}

// An image and its draft

const replyOf = item => item?.replies[find('method').value];

function showReply() {
  const reply = replyOf(current), error = current?.error;
  const warnings = (reply?.warnings ?? []).map(text => el('p', { className: 'warning', textContent: text }));
  find('warnings').replaceChildren(...warnings, ...(error ? [el('p', { className: 'fault', textContent: error, attributes: { role: 'alert' } })] : []));
  find('taking').hidden = !reply;
  find('neighbours').replaceChildren();
  point(null);
  if (!reply) {
    find('draft').replaceChildren(el('p', { className: 'quiet', textContent: error ? 'No draft.' : 'Reading…' }));
    return;
  }
  const lines = reply.draft.sentences.map(sentenceLine);
  find('draft').replaceChildren(lines.length ? el('ol', {}, ...lines) : el('p', { className: 'quiet', textContent: 'The neighbours agree on nothing; there is no draft.' }));
  find('neighbours').append(el('ul', { className: 'studies' }, ...reply.neighbours.map(found => studyCard(found, asMarked(found.sentences)))));
}

async function show(item) {
  current = item;
  for (const button of find('strip').children) button.setAttribute('aria-current', String(button === item.button));
  item.button.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  showReply();
  find('view').setAttribute('aria-label', `Radiograph ${items.indexOf(item) + 1} of ${items.length}: ${item.name}`);
  await showPicture(item);
}

async function showPicture(item) {
  find('wait').hidden = Boolean(item.picture);
  find('wait').textContent = item.error ?? 'Reading…';
  const bitmap = item.picture && await createImageBitmap(item.picture);
  if (current === item) viewer.show(bitmap);
  else bitmap?.close();
}

function tell() {
  const done = items.filter(item => item.error || Object.keys(item.replies).length).length, bad = items.filter(item => item.error).length;
  const read = done < items.length ? `${done} of ${items.length} read` : items.length > 1 ? `${items.length} images` : bad ? '' : 'or drop more anywhere';
  find('status').textContent = [read, bad ? `${bad} could not be read` : ''].filter(Boolean).join(', ');
}

async function read(item, method) {
  const had = item.picture;
  try {
    if (server.most_bytes < item.file.size) throw new api.Refused(`larger than ${server.most_bytes / 2 ** 20} MiB; send less`);
    const [picture, reply] = await Promise.all([had ?? api.picture(item.file), api.report(item.file, method, NEIGHBOURS)]);
    item.replies[method] = reply;
    item.picture = picture;
    if (!had) item.button.replaceChildren(el('img', { src: URL.createObjectURL(picture), alt: '' }));
    item.button.classList.toggle('warned', reply.warnings.length > 0);
  } catch (fault) {
    if (!(fault instanceof api.Refused)) throw fault;
    item.error = fault.message;
    item.button.replaceChildren(el('span', { className: 'bad', textContent: 'not read' }));
  } finally {
    tell();
    if (current === item) showReply();
    if (current === item && !had) await showPicture(item);
  }
}

function go() {
  while (running < AT_ONCE && waiting.length) {
    running++;
    read(...waiting.shift()).finally(() => { running--; go(); });
  }
}

function want(item) {
  const method = find('method').value;
  if (item.error || item.asked.has(method)) return;
  item.asked.add(method);
  if (item === current) waiting.unshift([item, method]);
  else waiting.push([item, method]);
  go();
}

function take(files) {
  if (!files.length || !server) return;
  document.body.classList.add('working');
  find('work').hidden = false;
  const fresh = [...files].map(file => {
    const button = el('button', { type: 'button', title: file.name, textContent: '…', attributes: { 'aria-label': file.name } });
    const item = { file, name: file.name, picture: null, replies: {}, asked: new Set(), error: null, button };
    button.addEventListener('click', () => { show(item); want(item); });
    return item;
  });
  items.push(...fresh);
  find('strip').append(...fresh.map(item => item.button));
  show(fresh[0]);
  fresh.forEach(want);
  tell();
}

// Taking a draft along

function content(as) {
  const reply = replyOf(current), facts = { notice: server.notice, trained_on: server.trained_on };
  if (as === 'json') return JSON.stringify({ ...facts, ...reply }, null, 2) + '\n';
  return [reply.draft.text, '', ...reply.warnings.map(text => `Warning: ${text}`), `Draft by retrieval (${reply.draft.method}), trained on ${facts.trained_on}. ${facts.notice}`, ''].join('\n');
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no secure origin, or not allowed
    const field = el('textarea', { value: text });
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
}

find('taking').addEventListener('click', async ({ target }) => {
  const { take: how, as } = target.dataset;
  if (!how) return;
  if (how === 'copy') {
    await copy(content(as));
    const was = target.textContent;
    target.textContent = 'Copied';
    setTimeout(() => { target.textContent = was; }, 1200);
  } else {
    const address = URL.createObjectURL(new Blob([content(as)], { type: as === 'json' ? 'application/json' : 'text/plain' }));
    el('a', { href: address, download: as === 'json' ? 'draft.json' : 'draft.txt' }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }
});

// Search by words

find('search').addEventListener('submit', async event => {
  event.preventDefault();
  const text = find('words').value.trim(), box = find('found');
  if (!text) return;
  box.hidden = false;
  box.replaceChildren(el('p', { className: 'quiet', textContent: 'Searching…' }));
  try {
    const { neighbours } = await api.search(text, FOUND);
    const close = el('button', { type: 'button', textContent: 'Close' });
    close.addEventListener('click', () => { box.hidden = true; find('words').focus(); });
    box.replaceChildren(el('div', { className: 'head' }, el('h2', { textContent: `Nearest to “${text}”` }), close),
      el('ul', { className: 'studies' }, ...neighbours.map(found => studyCard(found, asText(found.report)))));
  } catch (fault) {
    if (!(fault instanceof api.Refused)) throw fault;
    box.replaceChildren(el('p', { className: 'fault', textContent: fault.message, attributes: { role: 'alert' } }));
  }
});

// Files, by drop, choice or paste; keys

find('files').addEventListener('change', ({ target }) => { take(target.files); target.value = ''; });
addEventListener('dragover', event => { event.preventDefault(); document.body.classList.add('over'); });
addEventListener('dragleave', event => { if (!event.relatedTarget) document.body.classList.remove('over'); });
addEventListener('drop', event => {
  event.preventDefault();
  document.body.classList.remove('over');
  take(event.dataTransfer.files);
});
addEventListener('paste', event => take(event.clipboardData.files));
addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, textarea, dialog')) return;
  const step = { n: 1, p: -1 }[event.key];
  const next = step && items[items.indexOf(current) + step];
  if (next) next.button.click();
  if (event.key === '/') { event.preventDefault(); find('words').focus(); }
});
find('in').addEventListener('click', () => viewer.zoomBy(1.25));
find('out').addEventListener('click', () => viewer.zoomBy(.8));
find('fit').addEventListener('click', () => viewer.fit());
find('method').addEventListener('change', () => { showReply(); want(current); });

try {
  server = await api.about();
  const of = `${server.studies.toLocaleString('en')} studies to draw from`;
  find('about').textContent = `Trained on ${server.trained_on} · ${of}`;
  find('notice').textContent = (server.drawn ? 'The training images are drawn: answers say nothing about patients. ' : '') + server.notice;
  find('method').append(...server.methods.map(name => el('option', { value: name, textContent: name, selected: name === server.method })));
} catch (fault) {
  find('status').textContent = fault.message;
}
