// Sorts, filters, copies and switches the history policy. The address holds the state: #policy=keep&sort=hit@10&dir=ascending
"use strict";
const state = { policy: "", sort: "", dir: "descending", filter: "", kind: "", indexer: "", backbone: "" };
const parts = [...document.querySelectorAll("[data-policy]")];
const tables = [...document.querySelectorAll("table.board")];
const policies = [...document.getElementsByName("policy")];
const choices = ["kind", "indexer", "backbone"].map((name) => document.getElementById(name)).filter(Boolean);
const search = document.getElementById("filter");
const count = document.getElementById("count");

function compare(a, b, direction) {
  if (a === b) return 0;
  if (a === "") return 1; // what nobody measured stays last
  if (b === "") return -1;
  const difference = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  return direction === "ascending" ? difference : -difference;
}

// A model, the best of its decoders first, is a table body of its own, so its decoders stay with it.
function sortTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const at = heads.findIndex((head) => head.dataset.name && head.dataset.name === state.sort);
  heads.forEach((head, i) => (i === at ? head.setAttribute("aria-sort", state.dir) : head.removeAttribute("aria-sort")));
  if (at < 0) return;
  const value = (model) => model.rows[0].cells[at].dataset.value;
  table.append(...[...table.tBodies].sort((a, b) => compare(value(a), value(b), state.dir)));
}

function filterTable(table) {
  const words = state.filter.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  let all = 0;
  for (const model of table.tBodies) {
    const chosen = choices.every((choice) => !state[choice.id] || model.dataset[choice.id] === state[choice.id]);
    for (const row of model.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !chosen || !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
      all += 1;
    }
    model.hidden = [...model.rows].every((row) => row.hidden);
  }
  table.classList.toggle("searched", words.length > 0); // a search shows folded decoders too
  return `${shown} of ${all} rows`;
}

function show() {
  for (const part of parts) part.hidden = part.dataset.policy !== state.policy;
  for (const table of tables) {
    sortTable(table);
    const shown = filterTable(table);
    if (table.closest("section").dataset.policy === state.policy) count.textContent = shown;
  }
  for (const policy of policies) policy.checked = policy.value === state.policy;
  for (const choice of choices) choice.value = state[choice.id];
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
    if (state.dir !== "ascending") state.dir = "descending";
    for (const choice of choices) {
      if (![...choice.options].some((option) => option.value === state[choice.id])) state[choice.id] = "";
    }
  }
  if (!policies.some((policy) => policy.value === state.policy)) state.policy = policies[0].value;
  show();
}

function change(values) {
  Object.assign(state, values);
  const address = new URLSearchParams(Object.entries(state).filter(([, value]) => value));
  history.replaceState(null, "", `#${address}`.replaceAll("+", "%20"));
  show();
}

async function copy(button) {
  const command = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  } catch { // a browser that allows no copying: the command is shown and selected
    command.closest("details").open = true;
    command.scrollIntoView({ block: "center" });
    getSelection().selectAllChildren(command);
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.copies) return copy(button);
  const head = button.closest("th");
  const first = head.classList.contains("text") || head.dataset.name === "rank" ? "ascending" : "descending";
  const other = state.dir === "ascending" ? "descending" : "ascending";
  change({ sort: head.dataset.name, dir: state.sort === head.dataset.name ? other : first });
});
search.addEventListener("input", () => change({ filter: search.value }));
for (const choice of choices) choice.addEventListener("change", () => change({ [choice.id]: choice.value }));
for (const policy of policies) policy.addEventListener("change", () => change({ policy: policy.value }));
window.addEventListener("hashchange", read);
read();
