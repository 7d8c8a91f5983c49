const articles = [...document.querySelectorAll('article')];
const texts = articles.map(article => article.textContent.toLowerCase());
const labels = articles.map(article => JSON.parse(article.dataset.labels));
const keys = { best: a => -a.dataset.rouge, worst: a => +a.dataset.rouge, similar: a => -a.dataset.similarity };
const names = ['filter', 'finding', 'order', 'attention', 'sentences'];
const controls = names.map(id => document.getElementById(id)).filter(control => control);
const state = control => control.type === 'checkbox' ? (control.checked ? 'on' : '') : control.value;
function show() {
  const chosen = Object.fromEntries(controls.map(control => [control.id, state(control)]));
  for (const name of ['attention', 'sentences']) document.body.classList.toggle('show-' + name, chosen[name] === 'on');
  const words = chosen.filter.toLowerCase().split(/\s+/);
  articles.forEach((article, i) => {
    article.hidden = !words.every(word => texts[i].includes(word))
      || Boolean(chosen.finding) && !labels[i].includes(chosen.finding);
  });
  const key = keys[chosen.order], sorted = key ? [...articles].sort((a, b) => key(a) - key(b)) : articles;
  document.querySelector('main').append(...sorted);
  const all = articles.length, shown = articles.filter(article => !article.hidden).length;
  document.getElementById('count').textContent = (shown < all ? shown + ' of ' : '') + all + ' cases';
}
const asked = new URLSearchParams(location.hash.slice(1));
controls.forEach(control => {
  if (!asked.has(control.id)) return;
  if (control.type === 'checkbox') control.checked = asked.get(control.id) === 'on';
  else control.value = asked.get(control.id);
});
controls.forEach(control => {
  control.addEventListener('input', () => {
    show();
    location.replace('#' + new URLSearchParams(controls.filter(state).map(c => [c.id, state(c)])));
  });
});
show();
const zoom = document.getElementById('zoom');
document.addEventListener('click', event => {
  const image = event.target.closest('.xray');
  if (zoom.open) zoom.close();
  else if (image) {
    zoom.firstChild.className = image.className;
    zoom.firstChild.replaceChildren(...[...image.children].map(child => child.cloneNode(true)));
    zoom.showModal();
  }
});
