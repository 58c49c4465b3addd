"""Checks of a page, as scripts that a browser runs: each returns what is wrong."""

# Pairs of boxes of a graph that lie over each other
OVERLAPS = """() => [...document.querySelectorAll('.canvas')].flatMap(graph => {
  const boxes = [...graph.querySelectorAll('[role=treeitem]')];
  const all = boxes.map(own => [own.textContent, own.getBoundingClientRect()]).sort((a, b) => a[1].top - b[1].top);
  return all.flatMap(([name, a], i) => all.slice(i + 1, i + 40).filter(([, b]) =>
    b.top < a.bottom - 1 && b.left < a.right - 1 && a.left < b.right - 1).map(([other]) => [name, other]));
})"""

# Texts with a contrast below 4.5 to 1, which WCAG asks for
LOW_CONTRAST = """() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const paint = canvas.getContext('2d', {willReadFrequently: true});
  const luminance = colours => {
    for (const colour of ['#fff', ...colours]) {
      paint.fillStyle = colour;
      paint.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  for (let node; (node = walker.nextNode());) {
    const own = node.parentElement, grounds = [];
    if (!node.data.trim() || !own.checkVisibility() || own.closest('option, script, noscript')) continue;
    for (let around = own; around; around = around.parentElement)
      grounds.unshift(getComputedStyle(around).backgroundColor);
    const pair = [luminance([...grounds, getComputedStyle(own).color]), luminance(grounds)];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) found.push([node.data, ratio]);
  }
  return found;
}"""
