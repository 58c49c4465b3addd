// Views: a network, or two side by side; what is chosen and opened in them, by clicks and keys

function partAt(target) {
  const item = target.closest?.("[data-id]"), owner = target.closest?.(".canvas")?.net ?? state.view;
  return item ? owner.all[item.dataset.id] : undefined;
}

/** Draw the arrows, bars and table again; with `shape` the boxes, too. */
function draw(shape = true) {
  for (const net of state.sides) {
    if (shape) drawGraph(net);
    drawArrows(net);
  }
  const drawn = state.sides.flatMap(net => net.all).filter(part => part.box?.isConnected);
  const i = state.sides[0].columns.findIndex(hasBars);
  const share = part => (i < 0 || part.open ? 0 : size(part.cells[i])), most = largest(drawn.map(share));
  for (const part of drawn) part.box.style.setProperty("--share", share(part) / most);
  drawTable();
  choose(state.chosen);
}

/** Scroll an element into its own panel; the page itself stays where it is. */
function reveal(element) {
  const panel = element.closest(".scroll");
  const [own, around] = [element, panel].map(each => each.getBoundingClientRect());
  const by = (start, end, from, to) => {
    if (end - start > to - from) return (start + end - from - to) / 2;
    return start < from ? start - from : Math.max(0, end - to);
  };
  const x = element.matches("tr") ? 0 : by(own.left, own.right, around.left + 8, around.right - 20);
  panel.scrollBy(x, by(own.top, own.bottom, around.top + 48, around.bottom - 32));
}

/** Choose a part, or a row of a comparison with its parts on both sides. */
function choose(part) {
  state.chosen = part;
  const row = part?.match ?? part, parts = !part ? [] : (row.sides?.filter(Boolean) ?? [part]);
  if (row) state.drawTo(row);
  for (const old of document.querySelectorAll(".chosen")) {
    old.classList.remove("chosen");
    old.removeAttribute("aria-selected");
  }
  for (const own of [row?.tr, ...parts.map(side => shownAs(side).box)].filter(element => element?.isConnected)) {
    own.classList.add("chosen");
    own.setAttribute("aria-selected", true);
    reveal(own);
  }
  for (const path of state.sides.flatMap(net => net.paths))
    path.classList.toggle("on", path.ends.some(end => parts.includes(end)));
  const none = el("p.soft", "Choose a part to see what it costs, sees and keeps.");
  $("details").replaceChildren(...(part ? parts.map(details) : [none]));
  for (const area of document.querySelectorAll(".canvas, tbody")) { // the tab key stops once in each
    const items = [...area.querySelectorAll("[data-id]")], stop = items.find(own => own.matches(".chosen")) ?? items[0];
    for (const item of items) item.tabIndex = item === stop ? 0 : -1;
  }
}

/** Open or close parts, and those beside a row; `area` is where the focus stays: at the `box` or `tr` of the first. */
function open(parts, wanted, area) {
  const every = parts.flatMap(part => [part, ...(part.sides ?? [])]).filter(part => part?.parts);
  for (const part of every) part.open = wanted;
  if (area) for (const part of every) if (part.outer?.isConnected) part.outer.replaceWith(box(part));
  draw(!area);
  if (area) parts[0][area]?.focus({ preventScroll: true });
}

function openAll(wanted) {
  open([state.view, ...state.sides].flatMap(owner => owner.all), wanted);
}

function about(net, i) {
  const two = state.sides.length > 1;
  const figure = ([name, value, unit]) =>
    el("div", el("dt", name), el("dd", text(value, unit), state.units === "si" && unit === "bytes" ? "" : ` ${unit}`));
  return el("div", el("h1", two ? `${"AB"[i]}: ${net.name}` : net.name), ` ${net.title}`,
    ...[net.conditions, ...net.notes].map(line => el("p.soft", line)), two ? "" : el("dl", ...net.figures.map(figure)));
}

function graphOf(net, i) {
  net.canvas = Object.assign(el("div.canvas", { role: "tree", "aria-label": `Graph of ${net.name}` }), { net });
  return el("div.graph.scroll", state.sides.length > 1 ? el("h2", `${"AB"[i]}: ${net.name}`) : "", net.canvas);
}

function tickOf(column) {
  const tick = el("input", { type: "checkbox", onchange: () => { column.on = tick.checked; draw(false); } });
  tick.checked = column.on;
  return el("label", tick, ` ${column.title} ${column.unit}`);
}

function showView(view) {
  const sides = view.nets ?? [view];
  Object.assign(state, { view, sides, chosen: null, sort: null, query: "" });
  for (const part of sides.flatMap(net => net.all)) part.match = undefined;
  for (const row of view.nets ? view.all : []) for (const side of row.sides) if (side) side.match = row;
  document.querySelector("main").classList.toggle("pair", sides.length > 1);
  for (const button of $("views").children) button.toggleAttribute("aria-current", button.view === view);
  const figures = sides[0].columns.filter(column => column.key);
  const most = largest(sides.flatMap(net => net.memory.points ?? []).map(sum));
  $("about").replaceChildren(...sides.map(about));
  $("graphs").replaceChildren(...sides.map(graphOf));
  $("bars").replaceChildren(el("option", { value: "" }, "none"),
    ...figures.map(({ key, title, unit }) => el("option", { value: key }, `${title} ${unit}`)));
  $("bars").value = state.bars;
  $("columns").lastChild.replaceChildren(...view.columns.map(tickOf));
  $("memory").replaceChildren(...sides.map(net => chart(net, most)));
  $("search").value = "";
  draw();
  for (const graph of $("graphs").children) graph.scrollLeft = (graph.scrollWidth - graph.clientWidth) / 2;
}

function pressed(event, area) {
  const part = partAt(event.target);
  if (!part || event.altKey || event.ctrlKey || event.metaKey) return;
  const items = [...event.target.closest("tbody, .canvas").querySelectorAll("[data-id]")];
  const at = items.indexOf(event.target);
  const opens = canOpen(part, area), set = wanted => open([part], wanted, area), go = item => item && pick(item);
  const keys = {
    ArrowDown: () => go(items[at + 1]),
    ArrowUp: () => go(items[at - 1]),
    ArrowRight: () => (opens && !part.open ? set(true) : go(items[at + 1])),
    ArrowLeft: () => (opens && part.open ? set(false) : go(part.parent[area])),
    Home: () => go(items[0]),
    End: () => go(items.at(-1)),
    Enter: () => (opens ? set(!part.open) : go(event.target)),
    "*": () => open([part, ...part.parent.parts], true, area),
  };
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

function pick(item) {
  choose(partAt(item));
  item.focus({ preventScroll: true });
}

function clicked(event, area) {
  const part = partAt(event.target), sort = event.target.closest("[data-sort]");
  if (sort) sortBy(Number(sort.dataset.sort));
  if (!part) return;
  pick(part[area]);
  if (canOpen(part, area)) open([part], !part.open, area);
}

function scrolled({ target }) {
  if (target.scrollTop + 2 * target.clientHeight > target.scrollHeight) state.drawMore();
}

function start() {
  DATA.networks.forEach(place);
  DATA.comparisons.forEach(pair);
  if (innerWidth < 800) for (const net of DATA.networks) net.columns[0].on = false;
  const views = [...DATA.comparisons, ...DATA.networks];
  $("views").replaceChildren(
    ...views.map(view => Object.assign(el("button", { onclick: () => showView(view) }, view.name), { view })));
  for (const [id, area] of [["graphs", "box"], ["rows", "tr"]]) {
    $(id).onkeydown = event => pressed(event, area);
    $(id).onclick = event => clicked(event, area);
    $(id).onpointermove = tip;
    $(id).onpointerleave = () => ($("tip").hidden = true);
  }
  const onInput = (id, change) => ($(id).oninput = () => change($(id).value));
  onInput("search", value => { state.query = value.trim().toLowerCase(); draw(false); });
  onInput("bars", value => { state.bars = value; draw(false); });
  onInput("units", value => {
    state.units = value;
    $("about").replaceChildren(...state.sides.map(about));
    draw(false);
  });
  onInput("theme", value => { document.documentElement.dataset.theme = value; });
  $("open").onclick = () => openAll(true);
  $("close").onclick = () => openAll(false);
  $("rows").onscroll = scrolled;
  onresize = () => draw(false);
  onkeydown = event => { if (event.key === "Escape") $("tip").hidden = true; };
  showView(views[0]);
}

start();
