// Appended to a copy of a page: tells the page around it which text is cut, leaves its box or lies on other text.
"use strict";
const NO_TEXT = "script, style, noscript, option, select, svg";
const BOXES = "td, th, li, label, button, figcaption, p, h1, h2, h3, summary, pre, caption, .name, .score";

function said(node) {
  return node.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
}

// What is seen of a box: the part inside everything around it that scrolls.
function seen(box, element) {
  let { left, right, top, bottom } = box;
  for (let around = element; around; around = around.parentElement) {
    if (!/auto|scroll/.test(getComputedStyle(around).overflowX)) continue;
    const frame = around.getBoundingClientRect();
    left = Math.max(left, frame.left);
    right = Math.min(right, frame.right);
    top = Math.max(top, frame.top);
    bottom = Math.min(bottom, frame.bottom);
  }
  return { left, right, top, bottom };
}

function texts() {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest(NO_TEXT) || !element.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (box.width > 0 && box.height > 0) found.push({ node, element, box });
    }
  }
  return found;
}

function cut({ node, element, box }) {
  const found = [];
  const holder = element.closest(BOXES);
  if (holder) {
    const own = holder.getBoundingClientRect();
    if (box.left < own.left - 1 || box.right > own.right + 1) found.push(`leaves its ${holder.tagName}: ${said(node)}`);
  }
  for (let around = element; around; around = around.parentElement) {
    const overflow = getComputedStyle(around).overflowX;
    if (/auto|scroll/.test(overflow)) return found; // it can be scrolled into view
    const own = around.getBoundingClientRect();
    const inside = box.left > own.left - 1 && box.right < own.right + 1 && box.top > own.top - 4 && box.bottom < own.bottom + 4;
    if (overflow !== "visible" && !inside) found.push(`cut: ${said(node)}`);
  }
  if (box.left < -1 || box.right > innerWidth + 1) found.push(`outside the window: ${said(node)}`);
  return found;
}

function overlaps(all) {
  const found = [];
  const boxes = all.map(({ node, element, box }) => ({ node, ...seen(box, element) }));
  const visible = boxes.filter((box) => box.right > box.left && box.bottom > box.top).sort((a, b) => a.top - b.top);
  visible.forEach((one, at) => {
    for (let i = at + 1; i < visible.length && visible[i].top < one.bottom; i += 1) {
      const other = visible[i];
      const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const height = Math.min(one.bottom, other.bottom) - other.top;
      const least = Math.min(one.bottom - one.top, other.bottom - other.top);
      if (other.node !== one.node && width > 1 && height > least / 4) found.push(`overlap: ${said(one.node)} | ${said(other.node)}`);
    }
  });
  return found;
}

// The name and the score of every line of the table stand beside each other, inside the window.
function scores() {
  const found = [];
  for (const table of document.querySelectorAll("table.board")) {
    if (!table.checkVisibility()) continue;
    const at = [...table.tHead.rows[0].cells].findIndex((head) => head.dataset.name === "ndcg@10");
    for (const row of table.querySelectorAll("tbody tr")) {
      if (!row.checkVisibility()) continue;
      const [name, score] = [row.querySelector(".name"), row.cells[at]].map((part) => part.getBoundingClientRect());
      if (name.left < 0 || name.right > score.left + 1 || score.right > innerWidth + 1) found.push(`no score beside ${said(row)}`);
    }
  }
  return found;
}

function findings() {
  const all = texts();
  const wide = document.documentElement.scrollWidth > innerWidth ? ["the page scrolls sideways"] : [];
  return { texts: all.length, found: [...wide, ...all.flatMap(cut), ...overlaps(all)] };
}

addEventListener("load", () => {
  const closed = findings();
  closed.found.push(...scores());
  for (const part of document.querySelectorAll("details")) part.open = true;
  for (const box of document.querySelectorAll("input[type=checkbox]")) box.checked = true;
  parent.postMessage({ width: innerWidth, closed, opened: findings() }, "*");
});
