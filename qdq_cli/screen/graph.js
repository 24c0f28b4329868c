"use strict";
{
// Sizes in units of the drawing; one unit is one pixel at full size.
const BOX = 190, HEIGHT = 42, ROW = 66, LANE = 214, THIN = 26, SHORT = 6, MOST_BOXES = 700, LEGIBLE = 0.42, READABLE = 0.75, SMALLEST = 0.02;
const NEAREST = 2.5;

/** Where everything stands: a row for each rank, a lane for each branch, and a lane for what runs past others. */
function place(count, edges) {
  const out = Array.from({ length: count }, () => []), into = Array.from({ length: count }, () => []);
  const back = [], seen = new Set();
  for (const [from, to, tensor] of edges) {
    if (from === to || seen.has(from * count + to)) continue;
    seen.add(from * count + to);
    if (from > to) { back.push([from, to, tensor]); continue; }  // folding made a circle
    out[from].push(to);
    into[to].push(from);
  }
  const rank = new Int32Array(count), height = new Int32Array(count);
  for (let at = 0; at < count; at++) for (const to of out[at]) rank[to] = Math.max(rank[to], rank[at] + 1);
  for (let at = count - 1; at >= 0; at--) for (const to of out[at]) height[at] = Math.max(height[at], height[to] + 1);
  for (let at = count - 1; at >= 0; at--) {  // what reads nothing stands right above its first reader
    if (!into[at].length && out[at].length) rank[at] = Math.min(...out[at].map((to) => rank[to])) - 1;
  }
  const rows = [];
  for (let at = 0; at < count; at++) (rows[rank[at]] ??= []).push(at);
  const lane = new Int32Array(count).fill(-1), next = new Int32Array(count).fill(-1), by = new Map();
  const busy = [], holds = [];
  for (let at = 0; at < count; at++) {
    for (const to of out[at]) {
      const best = next[at];
      const wins = best < 0 || rank[to] < rank[best] || (rank[to] === rank[best] && height[to] > height[best]);
      if (wins) next[at] = to;
    }
  }
  const free = (near, row) => {
    for (let away = 0; ; away++) {
      if ((busy[near + away] ?? -1) < row) return near + away;
      if (near - away >= 0 && (busy[near - away] ?? -1) < row) return near - away;
    }
  };
  const settle = (at, where) => {
    lane[at] = where;
    holds[where] = true;
    busy[where] = next[at] < 0 ? rank[at] : rank[next[at]];  // the next one may stand there
  };
  for (let row = 0; row < rows.length; row++) {
    const here = rows[row] ?? [], later = [];
    for (const at of here) {
      const lanes = into[at].filter((from) => next[from] === at).map((from) => lane[from]);
      if (lanes.length) settle(at, Math.min(...lanes)); else later.push(at);
    }
    for (const at of later) settle(at, free(into[at].length ? lane[into[at][0]] : 0, row));
    for (const at of here) {
      const far = out[at].filter((to) => to !== next[at] && rank[to] > row + 1);
      if (!far.length) continue;
      const bus = free(lane[at] + 1, row + 1);
      busy[bus] = Math.max(...far.map((to) => rank[to])) - 1;
      by.set(at, bus);
    }
  }
  const x = [];
  let right = 0;
  for (let number = 0; number < busy.length; number++) {
    const width = holds[number] ? LANE : THIN;
    x[number] = right + width / 2;
    right += width;
  }
  const paths = [];
  for (let at = 0; at < count; at++) {
    for (const to of out[at]) {
      const via = to === next[at] ? lane[at] : rank[to] > rank[at] + 1 ? by.get(at) : lane[to];
      paths.push({ from: at, to, first: rank[at], last: rank[to], d: route(x[lane[at]], rank[at], x[via], x[lane[to]], rank[to]) });
    }
  }
  for (const [from, to] of back) {
    const start = x[lane[from]], end = x[lane[to]], side = Math.max(start, end) + LANE / 2;
    const d = `M${start} ${rank[from] * ROW + HEIGHT}C${side} ${rank[from] * ROW + ROW} ${side} ${rank[to] * ROW - ROW / 2} ${end} ${rank[to] * ROW}`;
    paths.push({ from, to, first: rank[to], last: rank[from], d });
  }
  return { rank, rows, out, into, paths, x: Array.from(lane, (number) => x[number]), width: right, height: rows.length * ROW };
}

/** A line from the foot of a box to the head of another, straight along a lane between them. */
function route(start, row, via, end, last) {
  const top = row * ROW + HEIGHT, foot = last * ROW, gap = ROW - HEIGHT;
  const bend = (x1, y1, x2, y2) => x1 === x2 ? `V${y2}` : `C${x1} ${(y1 + y2) / 2} ${x2} ${(y1 + y2) / 2} ${x2} ${y2}`;
  if (last === row + 1) return `M${start} ${top}` + bend(start, top, end, foot);
  return `M${start} ${top}` + bend(start, top, via, top + gap) + `V${foot - gap}` + bend(via, foot - gap, end, foot);
}

/** What is in the page as data: texts by number, nodes, edges, and the blocks that names make. */
function unpack(data) {
  const text = (number) => data.texts[number];
  const facts = (rows) => rows.map(([label, ...lines]) => [text(label), lines.map(text)]);
  const pairs = (list) => {
    const found = [];
    for (let at = 0; at < list.length; at += 2) found.push([text(list[at]), text(list[at + 1])]);
    return found;
  };
  const blocks = data.blocks.map(([parent, name]) => ({ parent, name: text(name), depth: 0, full: "", count: 0 }));
  for (const block of blocks) {
    const above = blocks[block.parent];
    block.depth = above ? above.depth + 1 : 1;
    block.full = above ? above.full + data.separator + block.name : block.name;
  }
  const nodes = data.nodes.map(([name, title, tone, block, macs, bytes, mark, said, shows, more, members]) => ({
    name: text(name), title: text(title), tone: data.tones[tone], block, macs, bytes, mark: text(mark),
    facts: () => facts(said), shows: () => pairs(shows), more: () => facts(more), members: () => members.map(text),
  }));
  const edges = [];
  for (let at = 0; at < data.edges.length; at += 4) {
    edges.push([data.edges[at], data.edges[at + 1], text(data.edges[at + 2]), data.tones[data.edges[at + 3]]]);
  }
  for (const node of nodes) for (let at = node.block; at >= 0; at = blocks[at].parent) blocks[at].count++;
  return { nodes, edges, blocks };
}

const short = (value, unit) => {
  for (const [limit, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= 0.99995 * limit) return `${(value / limit).toFixed(1)} ${prefix}${unit}`;
  }
  return `${value} ${unit}`.trim();
};

class Graph {
  constructor(figure) {
    this.figure = figure;
    const data = JSON.parse(figure.querySelector("script").textContent);
    Object.assign(this, unpack(data));
    this.words = data.words;
    for (const part of ["drawing", "map", "panel", "find", "found", "fold", "count"]) this[part] = figure.querySelector(`.g-${part}`);
    this.folded = new Set();
    this.chosen = null;
    this.byName = new Map();
    this.nodes.forEach((node, at) => {
      for (const name of [...node.members(), node.name]) this.byName.set(name, at);
    });
    figure.dataset.nodes = this.nodes.length;
    figure.dataset.edges = this.edges.length;
    this.layers = {};
    for (const name of ["edges", "boxes", "overlay"]) this.layers[name] = this.drawing.appendChild(this.make("g", { class: name }));
    this.depths();
    this.arrange();
    this.home();
    this.listen();
    this.describe(null);
    figure.dataset.ready = Math.round(performance.now());  // milliseconds since the page was asked for
  }

  make(tag, attributes = {}, text = "") {
    const made = document.createElementNS(this.drawing.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    return made;
  }

  /** The choices of how far blocks are folded: a level only where it has several blocks. */
  depths() {
    const deepest = this.blocks.reduce((most, block) => Math.max(most, block.depth), 0);
    const counts = Array.from({ length: deepest + 1 }, (_, depth) => this.blocks.filter((block) => block.depth === depth && block.count > 1).length);
    this.fold.append(new Option("nothing folded", "0"));
    for (let depth = 1; depth <= Math.min(deepest, 6); depth++) {
      if (counts[depth] > 1) this.fold.append(new Option(`level ${depth}: ${counts[depth]} blocks`, depth));
    }
    this.fold.hidden = this.fold.options.length < 2;
  }

  foldTo(depth) {
    this.folded = new Set(depth ? this.blocks.flatMap((block, at) => (block.depth === depth ? [at] : [])) : []);
    this.arrange();
    this.home();
    this.describe(null);
  }

  /** Fold or open one block, and keep it in sight. */
  toggle(block) {
    const kept = this.folded.has(block);
    if (kept) this.folded.delete(block); else this.folded.add(block);
    this.arrange();
    const first = this.nodes.findIndex((node) => this.within(node.block, block));
    this.choose(this.shown[first], true);
  }

  within(block, outer) {
    for (let at = block; at >= 0; at = this.blocks[at].parent) if (at === outer) return true;
    return false;
  }

  /** The outermost folded block that something is in; -1 where none is. */
  holder(block) {
    let found = -1;
    for (let at = block; at >= 0; at = this.blocks[at].parent) if (this.folded.has(at)) found = at;
    return found;
  }

  /** What is drawn, folded blocks in place of what is in them, and where it stands. */
  arrange() {
    this.shown = new Int32Array(this.nodes.length);
    this.items = [];
    const made = new Map(), sizes = new Map();
    const holders = this.nodes.map((node) => this.folded.size ? this.holder(node.block) : -1);
    for (const holder of holders) sizes.set(holder, (sizes.get(holder) ?? 0) + 1);
    this.nodes.forEach((node, at) => {
      const holder = holders[at];
      if (holder < 0 || sizes.get(holder) === 1) {
        this.shown[at] = this.items.length;
        this.items.push({ ...node, first: at, inside: null });
        return;
      }
      if (!made.has(holder)) {
        made.set(holder, this.items.length);
        this.items.push({ block: holder, first: at, inside: [] });
      }
      this.items[made.get(holder)].inside.push(node);
      this.shown[at] = made.get(holder);
    });
    for (const item of this.items) if (item.inside) Object.assign(item, this.summed(item));
    this.most = this.items.reduce((most, item) => Math.max(most, item.bytes ?? 0), 1);
    const edges = this.edges.map(([from, to, tensor, tone]) => [this.shown[from], this.shown[to], tensor, tone]);
    this.spot = place(this.items.length, edges);
    const tones = new Map(edges.map(([from, to, , tone]) => [from * this.items.length + to, tone]));
    for (const path of this.spot.paths) path.tone = tones.get(path.from * this.items.length + path.to);
    this.near = [];
    this.long = [];
    for (const path of this.spot.paths) {
      if (path.last - path.first > SHORT) this.long.push(path); else (this.near[path.first] ??= []).push(path);
    }
    this.chosen = null;
    this.figure.dataset.shown = this.items.length;
    this.drawMap();
  }

  /** What a folded block says of itself: the type that most of it computes in, and sums. */
  summed(item) {
    const counts = new Map();
    for (const node of item.inside) counts.set(node.tone, (counts.get(node.tone) ?? 0) + 1);
    const tones = [...counts].sort((a, b) => b[1] - a[1]);
    const total = (what) => item.inside.reduce((sum, node) => sum + (node[what] ?? 0), 0);
    const marks = ["error", "warning", "differs"].filter((mark) => item.inside.some((node) => node.mark === mark));
    return {
      name: this.blocks[item.block].full, title: `${item.inside.length} kernels`, tones, tone: tones[0][0],
      macs: total("macs"), bytes: total("bytes"), mark: marks[0] ?? "",
    };
  }

  size() {
    return [this.drawing.clientWidth || 600, this.drawing.clientHeight || 400];
  }

  /** The first look: all of it where that can be read, else its beginning. */
  home() {
    const [width, height] = this.size();
    const whole = Math.min(width / (this.spot.width + 40), height / (this.spot.height + 40), 1);
    if (whole >= READABLE) return this.fit();
    const scale = Math.min(Math.max(width / (this.spot.width + 40), READABLE), 1);
    const top = this.spot.rows.find((row) => row?.length) ?? [0];
    const aside = Math.max((this.spot.x[top[0]] ?? 0) - width / scale / 2, (this.spot.width - width / scale) / 2);
    this.see(scale, Math.min(aside, (this.spot.x[top[0]] ?? 0) - BOX / 2 - 20), -20);
  }

  fit() {
    const [width, height] = this.size();
    const scale = Math.min(width / (this.spot.width + 40), height / (this.spot.height + 40), 1);
    this.see(scale, (this.spot.width - width / scale) / 2, (this.spot.height - ROW + HEIGHT - height / scale) / 2);
  }

  see(scale, left, top) {
    Object.assign(this, { scale, left, top });
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  zoom(factor, across = 0.5, down = 0.5) {
    const [width, height] = this.size();
    const whole = Math.min(width / (this.spot.width + 40), height / (this.spot.height + 40));
    const scale = Math.min(Math.max(this.scale * factor, Math.min(whole, SMALLEST * 10)), NEAREST);
    this.see(scale, this.left + across * width * (1 / this.scale - 1 / scale), this.top + down * height * (1 / this.scale - 1 / scale));
  }

  /** Move; says whether there was anywhere to move to. */
  pan(across, down) {
    const [width, height] = this.size().map((end) => end / this.scale);
    const within = (value, size, view) => Math.min(Math.max(value, -view / 2), Math.max(size - view / 2, 0));
    const left = within(this.left + across / this.scale, this.spot.width, width);
    const top = within(this.top + down / this.scale, this.spot.height, height);
    const moved = left !== this.left || top !== this.top;
    if (moved) this.see(this.scale, left, top);
    return moved;
  }

  /** Draw what is in sight: boxes with words where they can be read, else a shape for each colour. */
  draw() {
    const [width, height] = this.size();
    const wide = width / this.scale, tall = height / this.scale;
    this.drawing.setAttribute("viewBox", `${this.left} ${this.top} ${wide} ${tall}`);
    const first = Math.max(Math.floor(this.top / ROW) - 1, 0);
    const last = Math.min(Math.ceil((this.top + tall) / ROW), this.spot.rows.length - 1);
    const seen = [];
    for (let row = first; row <= last; row++) {
      for (const at of this.spot.rows[row] ?? []) {
        if (Math.abs(this.spot.x[at] - this.left - wide / 2) < (wide + BOX) / 2) seen.push(at);
      }
    }
    this.drawEdges(first, last);
    const readable = this.scale >= LEGIBLE && seen.length <= MOST_BOXES;
    this.layers.boxes.replaceChildren(...(readable ? seen.map((at) => this.box(at)) : this.shapes(seen)));
    this.drawOverlay();
    this.window.setAttribute("x", this.left);
    this.window.setAttribute("y", this.top);
    this.window.setAttribute("width", wide);
    this.window.setAttribute("height", tall);
  }

  drawEdges(first, last) {
    const by = new Map();
    const add = (path) => by.set(path.tone, (by.get(path.tone) ?? "") + path.d);
    for (let row = Math.max(first - SHORT, 0); row <= last; row++) {
      for (const path of this.near[row] ?? []) if (path.last >= first) add(path);
    }
    for (const path of this.long) if (path.last >= first && path.first <= last) add(path);
    this.layers.edges.replaceChildren(...[...by].map(([tone, d]) => this.make("path", { class: `e-${tone}`, d })));
  }

  outline(at, room = 0) {
    const x = this.spot.x[at] - BOX / 2 - room, y = this.spot.rank[at] * ROW - room;
    return `M${x} ${y}h${BOX + 2 * room}v${HEIGHT + 2 * room}h${-BOX - 2 * room}z`;
  }

  shapes(seen) {
    const by = new Map();
    for (const at of seen) by.set(this.items[at].tone, (by.get(this.items[at].tone) ?? "") + this.outline(at));
    const rarest = [...by].sort((a, b) => b[1].length - a[1].length);  // drawn last, to be seen
    return rarest.map(([tone, d]) => this.make("path", { class: `shape n-${tone}`, d }));
  }

  box(at) {
    const item = this.items[at], x = this.spot.x[at] - BOX / 2, y = this.spot.rank[at] * ROW;
    const group = this.make("g", { class: `node n-${item.tone}${item.inside ? " block" : ""}${item.mark ? ` m-${item.mark}` : ""}`, "data-at": at });
    group.dataset.name = item.name;
    group.append(this.make("title", {}, `${item.title}\n${item.name}`));
    group.append(this.make("rect", { x, y, width: BOX, height: HEIGHT, rx: item.tone === "end" ? 21 : 5 }));
    if (item.inside) group.append(...this.stripes(item, x, y));
    if (item.bytes) group.append(this.make("rect", { class: "cost", x: x + 6, y: y + HEIGHT - 5, width: (BOX - 12) * item.bytes / this.most, height: 3 }));
    group.append(this.make("text", { class: "op", x: x + 8, y: y + 17 }, this.cut(item.title, 25)));
    group.append(this.make("text", { class: "name", x: x + 8, y: y + 32 }, this.tail(item.name, 30)));
    if (item.mark) group.append(this.make("text", { class: "flag", x: x + BOX - 8, y: y + 17 }, { error: "✖", warning: "!", differs: "≠" }[item.mark]));
    return group;
  }

  /** The types of what a folded block holds, as wide as there are kernels in them. */
  stripes(item, x, y) {
    let left = x;
    return item.tones.map(([tone, count]) => {
      const width = BOX * count / item.inside.length;
      left += width;
      return this.make("rect", { class: `stripe n-${tone}`, x: left - width, y, width, height: 5 });
    });
  }

  cut(text, most) { return text.length > most ? `${text.slice(0, most - 1)}…` : text; }
  tail(text, most) { return text.length > most ? `…${text.slice(1 - most)}` : text; }

  drawOverlay() {
    const marks = [];
    if (this.hits?.size) marks.push(this.make("path", { class: "hit", d: [...this.hits].map((at) => this.outline(this.shown[at], 4)).join("") }));
    if (this.chosen !== null) {
      const links = this.spot.paths.filter((path) => path.from === this.chosen || path.to === this.chosen);
      marks.push(this.make("path", { class: "link", d: links.map((path) => path.d).join("") }));
      marks.push(this.make("path", { class: "chosen", d: this.outline(this.chosen, 3) }));
    }
    this.layers.overlay.replaceChildren(...marks);
  }

  drawMap() {
    const wide = Math.max(this.spot.width, 1), tall = Math.max(this.spot.height, 1);
    this.map.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
    this.window = this.make("rect", { class: "window" });
    this.map.replaceChildren(...this.shapes(this.items.keys()), this.window);
  }

  /** Choose what is at a place among what is drawn; null for nothing. */
  choose(at, centre = false, tell = true) {
    this.chosen = at;
    if (at !== null && centre) {
      const [width, height] = this.size();
      if (this.scale < LEGIBLE) this.scale = 0.8;
      this.see(this.scale, this.spot.x[at] - width / this.scale / 2, this.spot.rank[at] * ROW - height / this.scale / 2.5);
    } else this.drawOverlay();
    this.describe(at);
    if (tell && at !== null) this.figure.dispatchEvent(new CustomEvent("chosen", { bubbles: true, detail: this.items[at].name }));
  }

  chooseNamed(name, tell = true) {
    const at = this.byName.get(name);
    if (at === undefined) return false;
    for (let block = this.nodes[at].block; block >= 0; block = this.blocks[block].parent) this.folded.delete(block);
    if (this.items[this.shown[at]].inside) this.arrange();
    this.choose(this.shown[at], true, tell);
    return true;
  }

  element(tag, text = "", kind = "") {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  button(text, action) {
    const made = this.element("button", text);
    made.type = "button";
    made.addEventListener("click", action);
    return made;
  }

  /** The panel: everything that is known of what was chosen, the marks of the page about it included. */
  describe(at) {
    if (at === null) {
      this.panel.replaceChildren(this.element("p", this.words.hint, "faint"));
      return;
    }
    const item = this.items[at];
    const parts = [this.element("h3", item.title), this.element("p", item.name, "g-name")];
    parts.push(...(item.inside ? this.aboutBlock(item) : this.aboutNode(item)));
    parts.push(this.neighbours("reads from", this.spot.into[at]), this.neighbours("read by", this.spot.out[at]), this.holders(item));
    this.panel.replaceChildren(...parts.filter(Boolean));
    this.panel.scrollTop = 0;
  }

  facts(rows) {
    const list = this.element("dl");
    for (const [label, value] of rows) {
      list.append(this.element("dt", label));
      const lines = this.element("dd");
      for (const line of [value].flat()) lines.append(this.element("span", line));
      list.append(lines);
    }
    return list;
  }

  aboutBlock(item) {
    const rows = item.tones.map(([tone, count]) => [this.words.tones[tone] ?? tone, `${count} of ${item.inside.length}`]);
    rows.push(["MACs", short(item.macs, "")], ["moves", short(item.bytes, "B")]);
    return [this.button("Open block", () => this.toggle(item.block)), this.facts(rows)];
  }

  aboutNode(item) {
    const parts = [this.facts(item.facts())];
    for (const [heading, id] of item.shows()) {
      const mark = document.getElementById(id);
      if (!mark) continue;
      const link = this.element("a", heading);
      link.href = `#${id}`;
      const title = this.element("h4");
      title.append(link);
      parts.push(title, this.copied(mark));
    }
    if (item.more().length) parts.push(this.facts(item.more()));
    return parts;
  }

  /** A copy of a mark on the page; the cells of a row below each other, with their headings. */
  copied(mark) {
    if (mark.tagName === "TR") {
      const heads = [...mark.closest("table").tHead.rows[0].cells];
      return this.facts([...mark.cells].map((cell, at) => [heads[at].textContent, cell.textContent]).filter(([, text]) => text));
    }
    const copy = mark.cloneNode(true);
    for (const part of [copy, ...copy.querySelectorAll("[id]")]) part.removeAttribute("id");
    if (copy.tagName === "DETAILS") copy.open = true;
    const frame = this.element(copy.tagName === "LI" ? "ul" : "div", "", copy.tagName === "LI" ? mark.parentNode.classList.contains("tall") ? "rows tall" : "rows" : "tensors");
    frame.append(copy);
    return frame;
  }

  neighbours(label, list) {
    if (!list.length) return null;
    const line = this.element("p", `${label} `, "g-near");
    for (const at of list.slice(0, 12)) line.append(this.button(`${this.items[at].title} · ${this.tail(this.items[at].name, 28)}`, () => this.choose(at, true)));
    if (list.length > 12) line.append(`and ${list.length - 12} more`);
    return line;
  }

  holders(item) {
    const line = this.element("p", "fold ", "g-near");
    const start = item.inside ? this.blocks[item.block].parent : item.block;
    for (let block = start; block >= 0; block = this.blocks[block].parent) {
      const number = block;
      if (this.blocks[block].count > 1) line.append(this.button(this.blocks[block].full, () => this.toggle(number)));
    }
    return line.children.length ? line : null;
  }

  search() {
    const wanted = this.find.value.trim().toLowerCase();
    const hits = [];
    if (wanted) {
      this.nodes.forEach((node, at) => {
        const text = [node.name, node.title, ...node.members()];
        if (text.some((part) => part.toLowerCase().includes(wanted))) hits.push(at);
      });
    }
    this.hits = new Set(hits);
    this.turn = -1;
    this.found.replaceChildren(...hits.slice(0, 60).map((at) => {
      const row = this.element("li");
      row.append(this.button(`${this.nodes[at].title} · ${this.nodes[at].name}`, () => this.chooseNamed(this.nodes[at].name)));
      return row;
    }));
    this.found.hidden = !hits.length;
    this.count.textContent = wanted ? `${hits.length} found` : "";
    this.drawOverlay();
  }

  /** Go to the next of what was found. */
  following() {
    const hits = [...(this.hits ?? [])];
    if (!hits.length) return;
    this.turn = (this.turn + 1) % hits.length;
    this.chooseNamed(this.nodes[hits[this.turn]].name);
    this.count.textContent = `${this.turn + 1} of ${hits.length}`;
  }

  at(event) {
    const box = this.drawing.getBoundingClientRect();
    const x = this.left + (event.clientX - box.left) / this.scale, y = this.top + (event.clientY - box.top) / this.scale;
    const row = Math.floor(y / ROW);
    if (y - row * ROW > HEIGHT) return null;
    return (this.spot.rows[row] ?? []).find((at) => Math.abs(this.spot.x[at] - x) <= BOX / 2) ?? null;
  }

  listen() {
    const fingers = new Map();
    let moved = 0;
    this.drawing.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, event);
      moved = 0;
      this.drawing.setPointerCapture(event.pointerId);
    });
    this.drawing.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const across = event.clientX - before.clientX, down = event.clientY - before.clientY;
      moved += Math.abs(across) + Math.abs(down);
      if (fingers.size === 2) {
        const [other] = [...fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
        const distance = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
        const box = this.drawing.getBoundingClientRect();
        this.zoom(distance(event) / distance(before), (other.clientX - box.left) / box.width, (other.clientY - box.top) / box.height);
      } else if (moved > 4) this.pan(-across, -down);
      fingers.set(event.pointerId, event);
    });
    const lift = (event) => {
      const single = fingers.size === 1 && fingers.delete(event.pointerId) && moved <= 4;
      fingers.delete(event.pointerId);
      if (single && event.type === "pointerup") this.choose(this.at(event));
    };
    this.drawing.addEventListener("pointerup", lift);
    this.drawing.addEventListener("pointercancel", lift);
    this.drawing.addEventListener("dblclick", (event) => {
      const at = this.at(event);
      if (at !== null && this.items[at].inside) this.toggle(this.items[at].block);
    });
    this.drawing.addEventListener("wheel", (event) => {
      if (event.ctrlKey || event.metaKey) {
        const box = this.drawing.getBoundingClientRect();
        this.zoom(Math.exp(-event.deltaY / 200), (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
        event.preventDefault();
      } else if (this.pan(event.deltaX, event.deltaY)) event.preventDefault();
    }, { passive: false });
    this.drawing.addEventListener("keydown", (event) => { if (this.key(event.key)) event.preventDefault(); });
    const jump = (event) => {
      if (!event.buttons) return;
      const box = this.map.getBoundingClientRect(), [width, height] = this.size();
      this.see(this.scale, (event.clientX - box.left) / box.width * this.spot.width - width / this.scale / 2,
        (event.clientY - box.top) / box.height * this.spot.height - height / this.scale / 2);
    };
    this.map.addEventListener("pointerdown", jump);
    this.map.addEventListener("pointermove", jump);
    this.find.addEventListener("input", () => this.search());
    this.find.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.following();
      if (event.key === "Escape") { this.find.value = ""; this.search(); }
    });
    this.fold.addEventListener("change", () => this.foldTo(Number(this.fold.value)));
    const actions = { in: () => this.zoom(1.4), out: () => this.zoom(1 / 1.4), fit: () => this.fit(), start: () => this.home(), full: () => this.fill() };
    for (const button of this.figure.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
    new ResizeObserver(() => this.see(this.scale, this.left, this.top)).observe(this.drawing);
  }

  fill() {
    this.figure.classList.toggle("full");
    this.see(this.scale, this.left, this.top);
  }

  /** What a key does; false where it does nothing here. */
  key(key) {
    const actions = { "+": () => this.zoom(1.4), "=": () => this.zoom(1.4), "-": () => this.zoom(1 / 1.4), 0: () => this.fit(), Home: () => this.home(), "/": () => this.find.focus(), f: () => this.fill() };
    if (actions[key]) { actions[key](); return true; }
    if (key === "Escape") { this.figure.classList.remove("full"); this.choose(null); return true; }
    if (key === "Enter") { this.panel.focus(); return true; }
    const way = { ArrowDown: "out", ArrowUp: "into", ArrowRight: 1, ArrowLeft: -1 }[key];
    if (way === undefined || !this.items.length) return false;
    if (this.chosen === null) { this.choose(0, true); return true; }
    const row = this.spot.rows[this.spot.rank[this.chosen]];
    const beside = [...row].sort((a, b) => this.spot.x[a] - this.spot.x[b]);
    const at = typeof way === "string" ? this.spot[way][this.chosen][0] : beside[beside.indexOf(this.chosen) + way];
    if (at !== undefined) this.choose(at, true);
    return true;
  }
}

const graphs = [...document.querySelectorAll("figure.graph")].map((figure) => new Graph(figure));
document.addEventListener("chosen", (event) => {  // two plans side by side show the same place
  for (const graph of graphs) if (graph.figure !== event.target) graph.chooseNamed(event.detail, false);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-node]");
  if (!link) return;
  const hit = graphs.filter((graph) => graph.chooseNamed(link.dataset.node, false));
  if (hit.length) { hit[0].figure.scrollIntoView({ block: "start" }); event.preventDefault(); }
});
}
