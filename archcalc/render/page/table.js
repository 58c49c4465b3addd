// The table: the open parts as a tree, or all layers as a list if it is sorted or searched

const STEP = 300; // rows that are drawn at first; scrolling to the end draws more
const isFlat = () => state.query !== "" || state.sort !== null;
const canOpen = (part, area) => part.parts && !(area === "tr" && isFlat());
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
  state.most = Math.max(state.most, rows.indexOf(state.chosen?.match ?? state.chosen) + STEP);
  state.more = rows.length > state.most;
  const columns = view.columns.map((column, i) => ({ ...column, i })).filter(column => column.on);
  for (const column of columns) column.most = largest(rows.map(row => size(row.cells[column.i])));
  const found = flat ? `${digits.format(rows.length)} found` : "";
  const head = el("tr", heading("Part", found, -1, "text"), ...columns.map(own => heading(own.title, own.unit, own.i, own.key ? "" : "text")));
  const foot = el("tr", el("th", { scope: "row" }, "total"), ...columns.map(column => cell(view.totals, { ...column, most: Infinity })));
  const body = rows.slice(0, state.most).map(row => line(row, columns, flat));
  const attributes = { role: "treegrid", "aria-label": "Parts", "aria-rowcount": rows.length };
  $("rows").replaceChildren(el("table", attributes, el("thead", head), el("tbody", ...body), el("tfoot", foot)));
}

function heading(title, unit, i, kind) {
  const sorted = state.sort === i, order = state.down ? "descending" : "ascending";
  const button = el("button", { "data-sort": i }, title, sorted ? (state.down ? " ↓" : " ↑") : "", el("small", unit || "\u00a0"));
  return el(`th.${kind}`, { scope: "col", "aria-sort": sorted ? order : "none" }, button);
}

function cell(cells, { i, key, unit, most }) {
  const share = key && key === state.bars && unit !== "B − A" ? size(cells[i]) / most : 0;
  const attributes = { role: "gridcell", "data-column": i };
  if (share) attributes["--share"] = share;
  return el(key ? "td.figure" : "td.text", attributes, text(cells[i], unit));
}

function line(row, columns, flat) {
  const attributes = { role: "row", tabindex: -1, "data-id": row.id, "aria-level": row.level };
  const opens = row.parts && !flat, head = { scope: "row", role: "rowheader", "--level": flat ? 0 : row.level - 1 };
  if (opens) attributes["aria-expanded"] = !!row.open;
  row.tr = el(`tr.${row.state ?? ""}`, attributes,
    el("th", head, el("span.mark", opens ? (row.open ? "▾" : "▸") : ""), MARKS[row.state] ?? "", flat ? row.name : row.label),
    ...columns.map(column => cell(row.cells, column)));
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
