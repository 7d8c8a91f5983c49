const articles = [...document.querySelectorAll('article')];
const texts = articles.map(article => article.textContent.toLowerCase());
const labels = articles.map(article => JSON.parse(article.dataset.labels));
const keys = {
  best: a => [-a.dataset.rouge, 0],
  worst: a => [+a.dataset.rouge, 0],
  'rule-best': a => [-a.dataset.rule, -a.dataset.rouge],
  'rule-worst': a => [+a.dataset.rule, +a.dataset.rouge],
  contradictions: a => [-a.dataset.contradictions, +a.dataset.rouge],
  similar: a => [-a.dataset.similarity, 0],
};
const controls = [...document.querySelectorAll('.bar input, .bar select')];
const state = control => control.type === 'checkbox' ? (control.checked ? '1' : '') : control.value;
function sorted(key) {
  if (!key) return articles;
  // What has no such score comes last.
  const ranked = articles.map(article => [key(article).map(value => isNaN(value) ? Number.MAX_VALUE : value), article]);
  return ranked.sort(([a], [b]) => a[0] - b[0] || a[1] - b[1]).map(([, article]) => article);
}
function show() {
  const chosen = Object.fromEntries(controls.map(control => [control.id, state(control)]));
  const words = chosen.filter.toLowerCase().split(/\s+/);
  articles.forEach((article, i) => {
    article.hidden = !words.every(word => texts[i].includes(word))
      || Boolean(chosen.finding) && !labels[i].includes(chosen.finding);
  });
  document.querySelector('main').append(...sorted(keys[chosen.order]));
  for (const name of ['attention', 'plain']) document.body.classList.toggle(name, Boolean(chosen[name]));
  const all = articles.length, shown = articles.filter(article => !article.hidden).length;
  document.getElementById('count').textContent = (shown < all ? shown + ' of ' : '') + all + ' cases';
}
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const control of controls) {
    const value = asked.get(control.id) ?? '';
    if (control.type === 'checkbox') control.checked = Boolean(value);
    else control.value = value;
    if (control.selectedIndex === -1) control.selectedIndex = 0;
  }
  show();
}
for (const control of controls) control.addEventListener('input', () => {
  show();
  location.replace('#' + new URLSearchParams(controls.filter(state).map(c => [c.id, state(c)])));
});
addEventListener('hashchange', readAddress);
readAddress();
const zoom = document.getElementById('zoom');
document.addEventListener('click', event => {
  const image = event.target.closest('.xray');
  if (zoom.open) zoom.close();
  else if (image) {
    zoom.firstChild.className = image.className;
    zoom.firstChild.replaceChildren(...[...image.children].map(child => child.cloneNode()));
    zoom.showModal();
  }
});
