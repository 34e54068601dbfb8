// Sorts, filters and switches the history policy. The address holds the state: #policy=keep&sort=hit@10&dir=ascending
"use strict";
const state = { policy: "mask", sort: "", dir: "descending", filter: "" };
const boards = [...document.querySelectorAll("section[data-policy]")];
const search = document.getElementById("filter");
const count = document.getElementById("count");

function compare(a, b, direction) {
  if (a === b) return 0;
  if (a === "") return 1; // what nobody measured stays last
  if (b === "") return -1;
  const difference = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  return direction === "ascending" ? difference : -difference;
}

function sortTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const at = heads.findIndex((head) => head.dataset.name === state.sort);
  heads.forEach((head, i) => (i === at ? head.setAttribute("aria-sort", state.dir) : head.removeAttribute("aria-sort")));
  if (at < 0) return;
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(a.cells[at].dataset.value, b.cells[at].dataset.value, state.dir));
  table.tBodies[0].append(...rows);
}

function show() {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  for (const board of boards) {
    board.hidden = board.dataset.policy !== state.policy;
    const table = board.querySelector("table.board");
    sortTable(table);
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
      const link = row.cells[0].querySelector("a");
      const mark = link && board.querySelector(`svg a[href="${link.getAttribute("href")}"]`);
      if (mark) mark.style.display = row.hidden ? "none" : "";
    }
    if (!board.hidden) count.textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
  }
  for (const choice of document.getElementsByName("policy")) choice.checked = choice.value === state.policy;
  if (search.value !== state.filter) search.value = state.filter;
}

function read() {
  const hash = location.hash.slice(1);
  const part = hash && document.getElementById(hash);
  if (part && part.tagName === "DETAILS") {
    part.open = true;
    part.scrollIntoView();
  } else if (hash.includes("=")) {
    const values = new URLSearchParams(hash.replaceAll("+", "%2B"));
    for (const key of Object.keys(state)) if (values.has(key)) state[key] = values.get(key);
    if (!boards.some((board) => board.dataset.policy === state.policy)) state.policy = "mask";
    if (state.dir !== "ascending") state.dir = "descending";
  }
  show();
}

function change(values) {
  Object.assign(state, values);
  const address = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
  history.replaceState(null, "", `#${address}`.replaceAll("+", "%20"));
  show();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("thead button");
  if (!button) return;
  const name = button.closest("th").dataset.name;
  const first = button.closest("th").classList.contains("text") ? "ascending" : "descending";
  const other = state.dir === "ascending" ? "descending" : "ascending";
  change({ sort: name, dir: state.sort === name ? other : first });
});
search.addEventListener("input", () => change({ filter: search.value }));
for (const choice of document.getElementsByName("policy")) {
  choice.addEventListener("change", () => change({ policy: choice.value }));
}
window.addEventListener("hashchange", read);
read();
