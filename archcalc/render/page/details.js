// What a part costs, sees and keeps; and the memory over the step

const SECTIONS = ["Shape", "Costs", "Sees", "Writes and keeps"];
const COLOURS = ["#3f7fb5", "#8a94a0", "#c3cad1", "#8462ac", "#c98a1b", "#3c9a77", "#6cb2f2", "#d9776a", "#a9b665"];

/** Return the lines of a layer: its formulas; of a block, the sums of its parts. */
function linesOf(part) {
  if (part.lines) return part.lines.map(i => part.owner.lines[i]);
  return part.owner.columns.map(({ title, unit, key, section }, i) => {
    const terms = part.parts.map(own => own.cells[i]).filter(value => value !== 0).map(value => text(value, unit));
    const sums = terms.length < 13 ? terms.join(" + ") : `sum of ${terms.length} parts`;
    return [title + (unit === "bytes" ? ", bytes" : ""), key ? sums : "", part.cells[i], key, section];
  });
}

function details(part) {
  const row = ([name, formula, value]) => {
    const unit = /bytes/.test(name) ? "bytes" : "";
    return el("tr", el("td.text", name), el("td.text.soft", formula), el("td", text(value, unit)));
  };
  const section = title => {
    const lines = linesOf(part).filter(line => line[4] === title);
    return lines.length ? [el("h3", title), el("table", el("tbody", ...lines.map(row)))] : [];
  };
  const network = state.sides.length > 1 ? `${part.owner.name} · ` : "";
  return el("div", el("h2", network, part.name, " ", el("span.soft", part.call ?? part.cells[0])),
    part.side ? el("p", "On a side output, which exists only in training.") : "",
    part.shares ? el("p", `It has the weights of ${part.shares}.`) : "", ...SECTIONS.flatMap(section));
}

/** Show the formula of the figure under the pointer, or those of the part. */
function tip(event) {
  const part = partAt(event.target), cell = event.target.closest?.("td"), own = $("tip"), lines = [];
  if (part?.owner.lines) {
    const key = cell && state.view.columns[cell.dataset.column].key;
    const keys = key ? [key] : ["params", "macs", "saved_bytes"];
    lines.push(`${part.name}: ${part.call ?? part.cells[0]}`);
    for (const [name, formula, value, of] of linesOf(part))
      if (keys.includes(of)) lines.push(`${name}: ${formula ? `${formula} = ` : ""}${text(value)}`);
  } else if (part) lines.push(part.name, part.cells[0]);
  own.hidden = !lines.length;
  own.replaceChildren(...lines.map(line => el("p", line)));
  const below = event.clientY + 20 + own.offsetHeight < innerHeight;
  own.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - own.offsetWidth - 4))}px`;
  own.style.top = `${event.clientY + (below ? 16 : -10 - own.offsetHeight)}px`;
}

function areas({ points, kinds }, most) {
  const below = points.map(() => 1);
  const area = ([colour], k) => {
    const lower = below.map((y, i) => `${i + 1} ${y}H${i}`).reverse().join("L");
    points.forEach((point, i) => (below[i] -= point[k] / most / 1.15));
    const upper = below.map((y, i) => `${i} ${y}H${i + 1}`).join("L");
    return el("path", { d: `M${upper}L${lower}z`, fill: COLOURS[colour] });
  };
  const box = { viewBox: `0 0 ${points.length} 1`, preserveAspectRatio: "none", "aria-hidden": true };
  return el("svg", box, ...kinds.map(area));
}

function chart(net, most) {
  const { memory } = net, head = el("h2", "Memory ", state.sides.length > 1 ? `of ${net.name}` : "over the step");
  if (typeof memory === "string") return el("div", head, el("p.soft", memory));
  const { points, kinds, starts } = memory, last = points.length - 1, totals = points.map(sum);
  const svg = areas(memory, most), cursor = el("i"), list = el("ul"), now = el("p");
  const show = i => {
    slider.value = i;
    cursor.style.left = `${((i + 0.5) / points.length) * 100}%`;
    now.textContent = `${starts.filter(start => start[1] <= i).at(-1)[0]}: ${short(totals[i], "bytes")} held`;
    slider.setAttribute("aria-valuetext", now.textContent);
    const row = ([colour, title], k) =>
      el("li", el("i", { "--own": COLOURS[colour] }), title, el("b", short(points[i][k], "bytes")));
    list.replaceChildren(...kinds.map(row));
  };
  const moment = { type: "range", min: 0, max: last, "aria-label": `Moment of the step of ${net.name}` };
  const slider = el("input", { ...moment, oninput: () => show(Number(slider.value)) });
  const moved = ({ clientX }) => {
    const { left, width } = svg.getBoundingClientRect();
    show(Math.min(last, Math.max(0, Math.floor(((clientX - left) / width) * points.length))));
  };
  const labels = starts.map(([name, start], i) => {
    const share = ((starts[i + 1]?.[1] ?? points.length) - start) / points.length; // a name needs room
    const label = el("span", share > 0.15 ? name : "");
    label.style.left = `${(start / points.length) * 100}%`;
    return label;
  });
  show(totals.indexOf(largest(totals)));
  const drawing = el("div.chart", { onpointermove: moved, onclick: moved }, svg, ...labels, cursor);
  return el("div", head, el("p.soft", `Peak ${memory.peak}; ${memory.of}`), drawing, slider, now, list);
}
