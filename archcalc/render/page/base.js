"use strict";
// The page of `archcalc explore`. It computes no figure: it shows those in the data.
const DATA = JSON.parse(document.getElementById("data").textContent);
const MARKS = { changed: "≠ ", a: "− ", b: "+ ", shapes: "~ " }; // so that no difference is a colour alone
const state = { view: null, sides: [], chosen: null, units: "full", bars: "macs", query: "", sort: null, down: true };

const $ = id => document.getElementById(id);
const largest = values => values.reduce((a, b) => Math.max(a, b), 1);
const sum = values => values.reduce((a, b) => a + b, 0);

/** Make an element such as `p.soft`, with attributes if the second argument has them. Texts are never read as HTML. */
function el(kind, ...inside) {
  const [tag, ...classes] = kind.split(".").filter(Boolean);
  const space = ["svg", "path", "marker"].includes(tag) ? "2000/svg" : "1999/xhtml";
  const made = document.createElementNS(`http://www.w3.org/${space}`, tag);
  const given = inside[0]?.constructor === Object ? inside.shift() : {};
  for (const [key, value] of Object.entries(given)) {
    if (key.startsWith("on")) made[key] = value;
    else if (key.startsWith("--")) made.style.setProperty(key, value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  if (classes.length) made.setAttribute("class", classes.join(" "));
  made.append(...inside.filter(part => part !== "" && part !== undefined));
  return made;
}

// Figures are whole numbers: as texts where JavaScript is not exact, with ≥ if they are lower bounds

const digits = new Intl.NumberFormat("en-US");
const isFigure = value => typeof value === "number" || /^(≥\d+|-?\d{16,})$/.test(value);
const size = value => (isFigure(value) ? Number(String(value).replace("≥", "")) : 0);

function text(value, unit) {
  if (!isFigure(value)) return value ?? "–";
  const least = String(value).startsWith("≥") ? "≥ " : "", plus = unit === "B − A" && size(value) > 0 ? "+" : "";
  const brief = state.units === "si" && Math.abs(size(value)) >= 1000;
  const number = brief ? short(size(value), unit) : digits.format(BigInt(String(value).replace("≥", "")));
  return least + plus + number.replace("-", "−");
}

function short(value, unit) {
  const power = Math.min(Math.floor(Math.log10(Math.max(1, Math.abs(Number(value.toPrecision(3))))) / 3), 6);
  const number = power ? (value / 1000 ** power).toPrecision(3) : value;
  return `${number} ${["", "k", "M", "G", "T", "P", "E"][power]}${unit === "bytes" ? "B" : ""}`;
}

// Parts: a network or comparison owns blocks and layers. Each knows the block around it and the span of its layers

function place(owner) {
  Object.assign(owner, { owner, all: [], layers: [], open: true, level: 0, from: 0 });
  const walk = parent => {
    for (const part of parent.parts) {
      Object.assign(part, { owner, parent, level: parent.level + 1, id: owner.all.length, from: owner.layers.length });
      owner.all.push(part);
      if (part.parts) walk(part);
      else part.to = owner.layers.push(part);
    }
    parent.to = owner.layers.length;
  };
  walk(owner);
}

/** Give the rows of a comparison the parts of both networks that they are about. */
function pair(own) {
  place(own);
  own.nets = own.networks.map(i => DATA.networks[i]);
  own.name = own.nets.map(net => net.name).join(" ↔ ");
  const known = own.nets.map(net => new Map(net.all.map(part => [`${part.from} ${part.to} ${part.name}`, part])));
  for (const row of own.all) row.sides = row.sides.map((key, i) => known[i].get(key));
}
