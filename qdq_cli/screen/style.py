"""The style sheet and the script of every page. The page forbids all others by their digests."""

from __future__ import annotations

from qdq_cli.screen.pictures import STYLE as PICTURES

_PAGE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --faint: #59636e; --rule: #d1d9e0;
  --panel: #f5f7f9; --one: #3d6fb4; --two: #d9822b; --amax: #c62828; --mark: #fff3c4; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e6eaee; --faint: #a3adb8; --rule: #3a434d;
  --panel: #1d2329; --one: #7aa7e3; --two: #f0a75c; --amax: #ff8a80; --mark: #4a4013; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2rem 0 .5rem; font-size: 1.2rem; }
p { margin: .4rem 0; } .faint, .subtitle, figcaption, caption { color: var(--faint); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin: .8rem 0; } a { color: var(--one); }
nav a { padding: .2rem 0; }
.badge { display: inline-block; padding: 0 .45em; border-radius: .3em; white-space: nowrap; color: #1b1f24;
  background: #d8dee4; font-size: .9em; }
.int8, .good { background: #a5d86e; } .float { background: #9ec5f0; } .standalone { background: #f28b82; }
.warning { background: #ffd766; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { color: var(--faint); } dd { margin: 0; } dd span { display: block; } dd .badge { display: inline-block; }
.note { padding: .5rem .8rem; border-left: .3rem solid var(--rule); background: var(--panel); }
.note.alarm { border-color: var(--amax); }
.scroll { overflow: auto; max-height: 34rem; margin: .5rem 0; border: 1px solid var(--rule); border-radius: .3rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; } caption { text-align: left; padding: .3rem .5rem; }
th, td { padding: .25rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
td { min-width: 3rem; max-width: 26rem; overflow-wrap: break-word; }
td.long { min-width: 14rem; } td:first-child { min-width: 11rem; }
thead th { position: sticky; top: 0; background: var(--panel); white-space: nowrap; }
.num { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.num { min-width: 0; } tr.mark td, li.mark { background: var(--mark); }
li.mark .faint { color: var(--ink); font-weight: bold; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--one); }
input[type=search] { width: 100%; max-width: 24rem; padding: .4rem .6rem; font: inherit; color: inherit;
  background: var(--panel); border: 1px solid var(--faint); border-radius: .3rem; }
section { content-visibility: auto; contain-intrinsic-size: auto 40rem; }
section:has(.graph) { content-visibility: visible; }
figure { margin: .6rem 0; } svg { display: block; width: 100%; overflow: visible; }
.rows { margin: .3rem 0; padding: 0; list-style: none; font-size: .9rem; } .rows.scroll { padding: 0 .5rem; }
.rows li { display: grid; grid-template-columns: 22rem 1fr 13rem; gap: 0 1rem; align-items: center; padding: .12rem 0;
  border-bottom: 1px solid var(--rule); }
.rows svg { height: 1rem; } .value { font-variant-numeric: tabular-nums; }
.one { fill: var(--one); } .two { fill: var(--two); } .zero, .tick { stroke: var(--rule); }
.tall svg { height: 1.3rem; }
.key { display: inline-block; width: .8em; height: .8em; vertical-align: baseline; }
.whisker { stroke: var(--ink); } .middle { stroke: var(--paper); stroke-width: 2; } .outlier { fill: var(--amax); }
svg text { fill: var(--faint); font-size: .8rem; } .axis { height: 1.2rem; } .mid { text-anchor: middle; }
.end { text-anchor: end; }
.tensors { max-height: 44rem; } .tensors details { border-bottom: 1px solid var(--rule); }
.tensors summary { display: grid; grid-template-columns: 1.2rem 9rem 1fr 15rem; gap: 0 .8rem; align-items: center;
  padding: .3rem .5rem; cursor: pointer; font-size: .9rem; list-style: none; }
.tensors summary::-webkit-details-marker { display: none; }
.tensors summary::before { content: "+"; color: var(--faint); font-weight: bold; text-align: center; }
.tensors [open] summary::before { content: "-"; }
.tensors svg { height: 2rem; background: var(--panel); overflow: hidden; }
.tensors [open] summary { grid-template-columns: 1.2rem 1fr; padding-bottom: 0; }
.tensors [open] summary > * { grid-column: 2; } .tensors [open] svg { grid-row: 3; height: 11rem; margin-top: .4rem; }
.tensors .body { padding: 0 .5rem .6rem 2.5rem; font-size: .9rem; }
.ends { display: flex; justify-content: space-between; color: var(--faint); }
.bars { fill: var(--one); } .cut { fill: var(--amax); fill-opacity: .18; }
.amax { stroke: var(--amax); stroke-width: 2; vector-effect: non-scaling-stroke; }
.curve { padding: 1rem 2rem 1.8rem 4rem; } .curve svg { height: 17rem; } .curve .link { stroke: var(--one); }
.curve .point { fill: var(--one); } .curve .chosen { fill: none; stroke: var(--amax); stroke-width: 3; }
.near { fill: transparent; } .spot .tip { display: none; fill: var(--ink); paint-order: stroke; stroke: var(--paper);
  stroke-width: 5; } .spot:hover .tip, .spot:focus .tip { display: inline; } .spot:focus { outline: none; }
.spot:hover .point, .spot:focus .point { stroke: var(--ink); stroke-width: 3; }
.curve text.name { fill: var(--ink); font-weight: bold; }
.verdict { padding: .6rem 1rem; border: 1px solid var(--rule); border-left-width: .5rem; border-radius: .3rem;
  background: var(--panel); font-size: 1.1rem; } .verdict .badge { font-size: 1em; margin-right: .4em; }
.verdict ol { margin: .3rem 0; padding-left: 1.6rem; font-size: 1rem; } .verdict p { margin: .2rem 0; }
.v-good { border-left-color: #4e9a06; } .v-warning { border-left-color: #d9a400; }
.v-standalone { border-left-color: var(--amax); }
.meter { height: .3rem; margin-top: .15rem; background: var(--rule); } .meter rect { fill: var(--one); }
.shares svg { height: 1rem; } .n-int8 { fill: #8bc34a; } .n-fp8 { fill: #46a58d; } .n-fp4 { fill: #b5bb3b; }
.n-half { fill: #a48fd6; } .n-fp32 { fill: #7aa6d8; } .n-standalone { fill: #e0766d; }
.n-other, .n-end { fill: #98a2ac; }
.p0 { fill: var(--one); } .p1 { fill: var(--two); } .p2 { fill: #8bc34a; }
.p3 { fill: #a48fd6; } .p4 { fill: #46a58d; }
.p5 { fill: #98a2ac; } :target { outline: 2px solid var(--two); outline-offset: 2px; }
[hidden] { display: none !important; }
@media (max-width: 46rem) { body { padding: .7rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
  .rows li { grid-template-columns: 1fr; padding: .35rem 0; }
  .rows .axisrow span:empty { display: none; }
  .tensors summary { grid-template-columns: 1.2rem 5.5rem 1fr; }
  .tensors summary .meta { grid-column: 2 / 4; }
  td { max-width: 14rem; } td.long { min-width: 14rem; }
  .folds thead { display: none; } .folds, .folds caption, .folds tbody, .folds tr { display: block; }
  .folds tr { padding: .3rem .5rem; border-bottom: 1px solid var(--rule); } .folds tr.mark { background: var(--mark); }
  .folds td { display: inline-block; min-width: 0; max-width: none; padding: 0 .8rem 0 0; border: 0;
    overflow-wrap: anywhere; white-space: normal; }
  .folds td:first-child { display: block; font-weight: bold; } .folds td:empty { display: none; }
  .folds td.long { display: block; min-width: 0; } .folds td[data-of]::before { content: attr(data-of) " ";
    color: var(--faint); }
  .tensors .body { padding-left: .5rem; } .curve { padding: 1rem 1rem 1.8rem 3rem; } .curve svg { height: 13rem; } }
@media print { .scroll { max-height: none; overflow: visible; border: 0; } input, nav { display: none; }
  thead th { position: static; } body { max-width: none; } * { print-color-adjust: exact; }
  li, tr { break-inside: avoid; } td, td.long { min-width: 0; overflow-wrap: anywhere; } }
"""

STYLE = _PAGE + PICTURES

SCRIPT = """
"use strict";
for (const box of document.querySelectorAll("[data-find]")) {
  const items = [...box.querySelectorAll("tbody tr, li:not(.axisrow), details")];
  if (items.length < 12) continue;
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "find among " + items.length;
  field.setAttribute("aria-label", field.placeholder);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
  });
  box.before(field);
}
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const first = [...body.rows];
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    const numeric = heading.classList.contains("num");
    const key = (row) => {
      const text = row.cells[column].textContent;
      return numeric ? (Number.isNaN(parseFloat(text)) ? -Infinity : parseFloat(text)) : text;
    };
    button.addEventListener("click", () => {
      const last = heading.getAttribute("aria-sort");
      for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
      const sign = last === "ascending" || (numeric && last === null) ? -1 : 1;
      const rows = [...first].sort((a, b) => sign * (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
      heading.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
      body.append(...rows);
    });
  });
}
"""
"""Finds rows and sorts tables; everything can be read without it."""
