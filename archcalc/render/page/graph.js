// The graph: boxes in ranks, which the browser lays out, and arrows over them

/** Put the parts of a block into ranks, each below all that it reads. An arrow over several ranks has a lane. */
function ranked(block) {
  if (block.ranks) return block.ranks;
  const home = [], { parts, owner } = block;
  for (const part of parts) {
    const inputs = owner.layers.slice(part.from, part.to).flatMap(layer => layer.inputs);
    const reads = new Set(inputs.filter(i => i >= block.from && i < part.from).map(i => home[i]));
    const rank = Math.max(0, ...[...reads].map(read => read.rank + 1));
    Object.assign(part, { rank, readers: [], lanes: new Map(), isSource: !inputs.length });
    for (const read of reads) read.readers.push(part);
    home.fill(part, part.from, home.length = part.to);
  }
  const ranks = [], ends = []; // of each lane, the rank where it is free again
  for (const part of parts) {
    if (part.isSource && part.readers.length) part.rank = Math.min(...part.readers.map(reader => reader.rank)) - 1;
    (ranks[part.rank] ??= []).push(part);
    for (const reader of part.readers.filter(reader => reader.rank > part.rank + 1).reverse()) {
      const free = ends.findIndex(end => end <= part.rank), lane = free < 0 ? ends.length : free;
      ends[lane] = reader.rank;
      part.lanes.set(reader, lane);
    }
  }
  block.ways = ends.length;
  return (block.ranks = ranks.filter(Boolean));
}

function inside(block) {
  block.body = el("div.inside", { role: "presentation" });
  for (const parts of ranked(block)) {
    const row = el("div.rank", { role: "presentation" }, ...parts.map(box));
    for (const part of parts) part.row = row;
    block.body.append(row);
  }
  block.body.style.paddingRight = `${8 + 7 * block.ways}px`;
  return block.body;
}

function box(part) {
  const mark = part.match?.state ?? "", [does, output] = part.cells, own = part.label.replace(/[\d_]+$/, "");
  const brief = `${does} `.startsWith(`${own} `) ? does.slice(own.length + 1) : does; // not `conv1 conv 3×3`
  const attributes = { role: "treeitem", tabindex: -1, "data-id": part.id, "aria-level": part.level };
  if (part.parts) attributes["aria-expanded"] = !!part.open;
  part.box = el(`div.box.${part.kind}.${part.side ? "side" : ""}.${mark}`, attributes,
    el("span", part.parts ? (part.open ? "▾ " : "▸ ") : "", MARKS[mark] ?? "", part.label),
    part.open ? "" : el("small", brief), el("small", output));
  part.outer = part.open ? el("div.block", { role: "presentation" }, part.box, inside(part)) : part.box;
  return part.outer;
}

function drawGraph(net) {
  const size = { viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, markerUnits: "userSpaceOnUse" };
  const arrow = el("marker", { id: "arrow", orient: "auto", ...size }, el("path", { d: "M0 1 8 4 0 7z" }));
  net.edges = el("svg", { "aria-hidden": true }, arrow);
  net.canvas.replaceChildren(inside(net), net.edges);
}

/** Return the outermost closed block that hides a part, or the part. */
function shownAs(part) {
  let shown = part;
  for (let around = part.parent; around.level; around = around.parent) if (!around.open) shown = around;
  return shown;
}

function drawArrows(net) {
  const origin = net.canvas.getBoundingClientRect(), known = new Map();
  const rect = element => {
    if (!known.has(element)) {
      const { left, top, width, height } = element.getBoundingClientRect();
      known.set(element, { x: left - origin.left, y: top - origin.top, width, height });
    }
    return known.get(element);
  };
  const shown = net.layers.map(shownAs), pairs = new Map();
  net.layers.forEach((layer, i) => {
    for (const a of layer.inputs.map(from => shown[from]))
      if (a !== shown[i]) pairs.set(`${a.id} ${shown[i].id}`, [a, shown[i]]);
  });
  net.paths = [...pairs.values()].map(ends => Object.assign(el("path", { d: way(...ends, rect) }), { ends }));
  net.edges.replaceChildren(net.edges.firstChild, ...net.paths);
}

/** Return the way of an arrow: straight down to the next rank, or around others along a lane at the right edge. */
function way(a, b, rect) {
  let [p, q] = [a, b]; // the parts of one block that hold the two
  while (p.level > q.level) p = p.parent;
  while (q.level > p.level) q = q.parent;
  while (p.parent !== q.parent) [p, q] = [p.parent, q.parent];
  const isLast = part => part === p || (part.parent.ranks.at(-1).includes(part) && isLast(part.parent));
  const isFirst = part => part === q || (part.rank === 0 && isFirst(part.parent));
  const from = rect(a.box), to = rect(b.box), row = rect(p.row), body = rect(p.parent.body);
  const x1 = from.x + from.width / 2, x2 = to.x + to.width / 2, y1 = row.y + row.height, y2 = rect(q.row).y;
  const start = `M${x1} ${from.y + from.height}V${y1}`, end = `V${to.y}`, middle = (y1 + y2) / 2;
  if (!p.lanes.has(q) && isLast(a) && isFirst(b))
    return `${start}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2 - 4}${end}`;
  const lane = body.x + body.width - 5 - 7 * (p.lanes.get(q) ?? 0);
  return `${start}q0 5 5 5H${lane - 5}q5 0 5 5V${y2 - 12}q0 5-5 5H${x2 + 5}q-5 0-5 5${end}`;
}
