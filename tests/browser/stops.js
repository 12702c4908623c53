// Where the Tab key stops. First run: begins to note the stops, and says how many there should be. Second run: says what
// is wrong with those noted.
"use strict";

const selector = "a[href], button, input:not([type=hidden], [hidden]), select, textarea, summary, [tabindex]";
const name = (e) => `<${e.localName}${e.id ? `#${e.id}` : ""}> "${(e.textContent || e.name || "").trim().replace(/\s+/g, " ").slice(0, 40)}"`;
const reachable = () =>
  [...document.querySelectorAll(selector)].filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({ visibilityProperty: true }));

if (!window.licraftStops) {
  const stops = [];
  const end = new AbortController();
  const note = ({ target }) => {
    const style = getComputedStyle(target);
    const box = target.getBoundingClientRect();
    const marked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    const inside = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    stops.push({ name: name(target), marked, inside });
  };
  // The first stop is the first of the page, wherever the focus was.
  document.body.tabIndex = -1;
  document.body.focus();
  document.addEventListener("focusin", note, { signal: end.signal });
  window.licraftStops = { stops, end };
  return reachable().length;
}

const { stops, end } = window.licraftStops;
end.abort();
delete window.licraftStops;
document.activeElement.blur();
document.body.removeAttribute("tabindex");
scrollTo(0, 0);
const faults = [];
reachable().map(name).forEach((wanted, n) => {
  const stop = stops[n];
  if (stop?.name !== wanted) faults.push(`stop ${n + 1} of the Tab key is ${stop?.name}, not ${wanted}`);
  else if (!stop.marked) faults.push(`the focus does not show: ${wanted}`);
  else if (!stop.inside) faults.push(`the focus is out of sight: ${wanted}`);
});
return faults;
