// The table: the open parts as a tree, or all layers as a list if it is sorted or searched

const STEP = 300; // rows that are drawn at first; scrolling to the end draws more
const isFlat = () => state.query !== "" || state.sort !== null;
const canOpen = (part, area) => part.parts && !(area === "tr" && isFlat());
const hasBars = ({ key, unit }) => key && key === state.bars && unit !== "B − A";
const collate = new Intl.Collator("en", { numeric: true }).compare;

function rowsShown() {
  const { view, query, sort, down } = state, rows = [];
  const walk = part => {
    rows.push(part);
    if (part.open) part.parts.forEach(walk);
  };
  if (!isFlat()) view.parts.forEach(walk);
  else rows.push(...view.layers.filter(part => [part.name, ...part.cells].join(" ").toLowerCase().includes(query)));
  if (sort === null) return rows;
  const key = part => (sort < 0 ? part.name : part.cells[sort]);
  const compare = (a, b) => (isFigure(a) && isFigure(b) ? size(a) - size(b) : collate(a, b));
  const unknown = part => key(part) === null; // stands at the end
  return rows.sort((a, b) => unknown(a) - unknown(b) || (down ? compare(key(b), key(a)) : compare(key(a), key(b))));
}

function drawTable() {
  const rows = rowsShown(), { view } = state, flat = isFlat();
  const columns = view.columns.map((column, i) => ({ ...column, i })).filter(column => column.on);
  const most = new Map(); // by figure: columns of two networks have one scale
  for (const { i, key } of columns.filter(hasBars))
    most.set(key, largest([most.get(key) ?? 1, ...rows.map(row => size(row.cells[i]))]));
  const found = flat ? `${digits.format(rows.length)} found` : "";
  const head = el("tr", heading({ title: "Part", unit: found, i: -1 }), ...columns.map(heading));
  for (const column of columns) column.most = most.get(column.key);
  const sums = columns.map(column => cell(view.totals, { ...column, most: Infinity }));
  const foot = el("tr", el("th", { scope: "row" }, "total"), ...sums);
  const body = el("tbody"), drawn = () => body.childElementCount;
  const add = end => body.append(...rows.slice(drawn(), end).map(row => line(row, columns, flat)));
  state.drawMore = () => add(drawn() + STEP);
  state.drawTo = row => rows.indexOf(row) >= drawn() && add(rows.indexOf(row) + STEP);
  state.drawMore();
  const attributes = { role: "treegrid", "aria-label": "Parts", "aria-rowcount": rows.length };
  $("rows").replaceChildren(el("table", attributes, el("thead", head), body, el("tfoot", foot)));
}

function heading({ title, unit, i, key }) {
  const [order, arrow] = state.sort !== i ? ["none", ""] : state.down ? ["descending", " ↓"] : ["ascending", " ↑"];
  const button = el("button", { "data-sort": i }, title, arrow, el("small", unit || "\u00a0"));
  return el(key ? "th" : "th.text", { scope: "col", "aria-sort": order }, button);
}

function cell(cells, { i, key, unit, most }) {
  const share = hasBars({ key, unit }) ? size(cells[i]) / most : 0;
  const attributes = { role: "gridcell", "data-column": i };
  if (share) attributes["--share"] = share;
  return el(key ? "td.figure" : "td.text", attributes, text(cells[i], unit));
}

function line(row, columns, flat) {
  const attributes = { role: "row", tabindex: -1, "data-id": row.id, "aria-level": row.level };
  const opens = row.parts && !flat, mark = el("span.mark", opens ? (row.open ? "▾" : "▸") : "");
  if (opens) attributes["aria-expanded"] = !!row.open;
  const head = el("th", { scope: "row", role: "rowheader", "--level": flat ? 0 : row.level - 1 }, mark);
  head.append(MARKS[row.state] ?? "", flat ? row.name : row.label);
  row.tr = el(`tr.${row.state ?? ""}`, attributes, head, ...columns.map(column => cell(row.cells, column)));
  return row.tr;
}

/** Sort by a column: figures start with the largest, names with the first; the third click ends it. */
function sortBy(i) {
  if (state.sort !== i) Object.assign(state, { sort: i, down: i >= 0 });
  else if (state.down === i >= 0) state.down = !state.down;
  else state.sort = null;
  draw(false);
  $("rows").querySelector(`[data-sort="${i}"]`).focus();
}
