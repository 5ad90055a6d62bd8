// Filters, order and theme. Without this script all is shown, in the order of what moved most.
"use strict";
const by = (id) => document.getElementById(id);
const root = document.documentElement;

const theme = by("theme");
const paint = (name) => { if (name) root.dataset.theme = name; else delete root.dataset.theme; };
// Storage is refused to files in some browsers: the choice then lasts as long as the page.
try { theme.value = localStorage.getItem("alignbench-theme") || ""; } catch { /* as the system */ }
paint(theme.value);
theme.addEventListener("change", () => {
  paint(theme.value);
  try { localStorage.setItem("alignbench-theme", theme.value); } catch { /* not kept */ }
});
theme.parentElement.hidden = false;

const form = by("filter"), list = by("list");
const fields = { q: by("q"), verdict: by("verdict"), where: by("where"), sort: by("sort"), moved: by("moved-only") };
const claims = [...list.querySelectorAll(".claim")].map((element) => ({
  element,
  text: element.dataset.text.toLowerCase(),
  name: element.dataset.name,
  rank: Number(element.dataset.rank),
  worst: Number(element.dataset.worst),
  series: [...element.querySelectorAll(".series")],
}));
const orders = {
  "": (a, b) => a.rank - b.rank,
  worst: (a, b) => a.worst - b.worst || a.rank - b.rank,
  name: (a, b) => (a.name < b.name ? -1 : 1),
};

function show() {
  const words = fields.q.value.toLowerCase().split(/\s+/).filter(Boolean);
  let seen = 0;
  for (const claim of claims) {
    const named = words.every((word) => claim.text.includes(word));
    let any = false;
    for (const one of claim.series) {
      const fits = named
        && (!fields.verdict.value || one.dataset.words.split(" ").includes(fields.verdict.value))
        && (!fields.where.value || one.dataset.where === fields.where.value)
        && (!fields.moved.checked || "moved" in one.dataset);
      one.hidden = !fits;
      any ||= fits;
    }
    claim.element.hidden = !any;
    seen += any;
  }
  by("shown").value = `${seen} of ${claims.length} ${claims.length === 1 ? "claim" : "claims"}`;
}

function sort() {
  list.append(...[...claims].sort(orders[fields.sort.value] || orders[""]).map((claim) => claim.element));
}

// The state is in the address, behind `#?`, so that a view can be sent to somebody; other addresses are places in the page.
function save() {
  const state = new URLSearchParams();
  for (const [name, field] of Object.entries(fields)) {
    const value = field.type === "checkbox" ? (field.checked ? "1" : "") : field.value;
    if (value) state.set(name, value);
  }
  history.replaceState(null, "", state.size ? `#?${state}` : "#");
}

function load() {
  if (!location.hash.startsWith("#?")) return place();
  const state = new URLSearchParams(location.hash.slice(2));
  for (const [name, field] of Object.entries(fields)) {
    const value = state.get(name) || "";
    if (field.type === "checkbox") field.checked = value === "1";
    else field.value = value;
    if (field.tagName === "SELECT" && field.selectedIndex < 0) field.value = "";
  }
  sort();
  show();
}

function place() {
  const target = location.hash.length > 1 && by(location.hash.slice(1));
  if (!target || !target.closest("[hidden]")) return;
  form.reset();
  sort();
  show();
  target.scrollIntoView();
}

form.addEventListener("input", () => { show(); save(); });
fields.sort.addEventListener("change", () => { sort(); save(); });
form.addEventListener("reset", () => setTimeout(() => { sort(); show(); save(); }));
form.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", load);
form.hidden = false;
show();
load();

// Paper has no click: what moved or is not green is printed with its numbers.
const opened = new Set();
window.addEventListener("beforeprint", () => {
  for (const one of list.querySelectorAll("details.matters:not([open])")) { one.open = true; opened.add(one); }
});
window.addEventListener("afterprint", () => {
  for (const one of opened) one.open = false;
  opened.clear();
});
