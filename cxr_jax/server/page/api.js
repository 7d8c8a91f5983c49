// What the page asks of its server; the token, where one is needed, is asked for once and kept for this tab.

let token = sessionStorage.getItem('token') ?? '';
let asking = null;

export class Refused extends Error {}

export async function ask(path, options = {}) {
  for (let tries = 0; ; tries++) {
    const sent = token;
    const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
    let answer;
    try {
      answer = await fetch(path, { ...options, headers });
    } catch {
      throw new Refused('The server does not answer; is it still running?');
    }
    if (answer.ok) return answer;
    if (answer.status === 401) {
      if (sent === token) await (asking ??= askForToken(sent !== '').finally(() => { asking = null; }));
    } else if (answer.status === 503 && tries < 20) {
      await new Promise(done => setTimeout(done, 500 + 100 * tries));
    } else {
      throw new Refused((await answer.json().catch(() => ({}))).error ?? `The server answered ${answer.status}`);
    }
  }
}

export const about = async () => (await ask('api/about')).json();

const form = (file, fields = {}) => {
  const body = new FormData();
  body.append('image', file, 'image'); // its name stays here
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  return { method: 'POST', body };
};
export const picture = async file => (await ask('api/picture', form(file))).blob();
export const region = async (file, text) => (await ask('api/region', form(file, { text }))).blob();
export const report = async (file, method, count) =>
  (await ask('api/report', form(file, { method, top_k: count }))).json();

export const search = async (text, count) => (await ask('api/search', {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ text, top_k: count }),
})).json();

export const study = async id => (await ask(`api/study?study_id=${encodeURIComponent(id)}`)).json();

const thumbnails = new Map();
export function thumbnail(id) {
  if (!thumbnails.has(id)) {
    const made = ask(`api/thumbnail?study_id=${encodeURIComponent(id)}`).then(answer => answer.blob()).then(URL.createObjectURL);
    made.catch(() => thumbnails.delete(id));
    thumbnails.set(id, made);
  }
  return thumbnails.get(id);
}

function askForToken(wrong) {
  const dialog = document.getElementById('ask'), field = document.getElementById('token');
  document.getElementById('wrong').textContent = wrong ? 'That was not it.' : '';
  field.value = '';
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => {
    token = field.value.trim();
    sessionStorage.setItem('token', token);
    done();
  }, { once: true }));
}
