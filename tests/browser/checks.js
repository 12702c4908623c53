// Looks at an open page as a person would who reads with a screen reader, a keyboard, weak eyes or a small screen. Hands
// over { faults, bytes, paint, status }: each fault says what is wrong and where. The rules are those of WCAG 2.2, A and AA.
"use strict";

const done = arguments[arguments.length - 1];
const faults = [];
const all = (css, root = document) => [...root.querySelectorAll(css)];
const say = (what, element) => faults.push(element ? `${what}: ${where(element)}` : what);

function where(element) {
  const id = element.id ? `#${element.id}` : "";
  const classes = [...element.classList].map((name) => `.${name}`).join("");
  const text = (element.textContent || element.value || "").trim().replace(/\s+/g, " ").slice(0, 40);
  return `<${element.localName}${id}${classes}> "${text}"`;
}

function seen(element) {
  const box = element.getBoundingClientRect();
  if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) || box.width * box.height <= 1) return false;
  for (let e = element; e; e = e.parentElement) if (getComputedStyle(e).clipPath !== "none") return false;
  return true;
}

function texts(ids) {
  return ids.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
}

function nameOf(element) {
  const by = element.getAttribute("aria-labelledby");
  if (by) return texts(by);
  const label = element.getAttribute("aria-label") ?? "";
  const labels = [...(element.labels ?? [])].map((l) => l.textContent).join(" ");
  const images = all("img[alt], svg title", element).map((i) => i.alt ?? i.textContent).join(" ");
  const own = element.matches("input, select, textarea") ? "" : element.textContent;
  return [label, labels, own, images, element.title].join(" ").trim();
}

function head() {
  if (!document.documentElement.lang) say("the page has no language");
  if (!document.title.trim()) say("the page has no title");
  const viewport = document.querySelector("meta[name=viewport]")?.content ?? "";
  if (/user-scalable\s*=\s*no|maximum-scale/.test(viewport)) say("the page cannot be zoomed");
  const ids = new Map();
  for (const e of all("[id]")) ids.set(e.id, (ids.get(e.id) ?? 0) + 1);
  for (const [id, count] of ids) if (count > 1) say(`${count} elements have the id ${id}`);
  for (const attribute of ["for", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns"]) {
    for (const e of all(`[${attribute}]`)) {
      for (const id of e.getAttribute(attribute).split(/\s+/)) if (!ids.has(id)) say(`${attribute} names no element`, e);
    }
  }
  for (const e of all("[tabindex]")) if (e.tabIndex > 0) say("a positive tabindex", e);
}

function structure() {
  const headings = all("h1, h2, h3, h4, h5, h6");
  if (all("h1").length !== 1) say(`${all("h1").length} elements h1`);
  let last = 0;
  for (const heading of headings) {
    const level = Number(heading.localName[1]);
    if (level > last + 1) say(`a heading of level ${level} after level ${last}`, heading);
    if (!heading.textContent.trim()) say("an empty heading", heading);
    last = level;
  }
  if (all("main").length !== 1) say(`${all("main").length} elements main`);
  if (!all("body > header").length) say("no header");
  const navs = all("nav");
  for (const nav of navs) if (navs.length > 1 && !nav.getAttribute("aria-label")) say("one of several navigations without a name", nav);
  const landmark = "header, nav, main, footer, aside, [role=status], [role=note], [role=alert], dialog, script, template";
  for (const e of document.body.children) {
    if (!e.matches(landmark) && !e.matches('a[href^="#"]') && seen(e)) say("outside of all landmarks", e);
  }
  for (const list of all("ul, ol")) {
    for (const e of list.children) if (!e.matches("li, script, template")) say("not an item of the list it is in", e);
  }
}

function controls() {
  for (const e of all("input:not([type=hidden], [hidden]), select, textarea")) if (!nameOf(e)) say("a field without a label", e);
  for (const e of all("button, a[href], summary, [role=button]")) if (!nameOf(e)) say("without a name", e);
  for (const e of all("a:not([href])")) say("a link to nowhere", e);
  for (const e of all("a[href] a, a[href] button, button a, button button")) say("one control within another", e);
  for (const e of all("img:not([alt])")) say("an image without alt", e);
  for (const e of all("svg")) {
    if (e.getAttribute("aria-hidden") !== "true" && !nameOf(e) && !e.querySelector("title")) say("a drawing without a title", e);
  }
  for (const table of all("table")) {
    for (const e of all("th:not([scope])", table)) say("a heading of a table without scope", e);
    if (!table.querySelector("th")) say("a table without headings", table);
  }
}

// 2.5.8: a target is 24 by 24 pixels, or no other is within 12 pixels of its middle, or it is a link within a text.
function targets() {
  const targets = all("button, a[href], input:not([type=hidden], [hidden]), select, textarea, summary").filter(seen);
  for (const e of targets) {
    const box = e.getBoundingClientRect();
    if (getComputedStyle(e).display === "inline" || Math.min(box.width, box.height) >= 23.9) continue;
    const near = targets.find((other) => other !== e && distance(box, other.getBoundingClientRect()) < 12);
    if (near) say(`${Math.round(box.width)} by ${Math.round(box.height)} pixels, and close to ${where(near)}`, e);
  }
}

function distance(box, other) {
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  return Math.hypot(Math.max(other.left - x, x - other.right, 0), Math.max(other.top - y, y - other.bottom, 0));
}

function colour(text) {
  const parts = /^rgba?\(([^)]*)\)$/.exec(text)?.[1].split(/[ ,/]+/).map(Number);
  if (!parts) throw new Error(`a colour that is not understood: ${text}`);
  return [...parts.slice(0, 3), parts[3] ?? 1];
}

function over([r, g, b, alpha], ground) {
  const mix = (part, below) => part * alpha + below * (1 - alpha);
  return [mix(r, ground[0]), mix(g, ground[1]), mix(b, ground[2]), 1];
}

function ground(element) {
  if (!element) return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18, 1] : [255, 255, 255, 1];
  const style = getComputedStyle(element);
  if (style.backgroundImage !== "none") say("text over a picture", element);
  const own = colour(style.backgroundColor);
  return own[3] === 1 ? own : over(own, ground(element.parentElement));
}

function luminance([r, g, b]) {
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

function contrast(a, b) {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

function readable(element, pseudo) {
  const style = getComputedStyle(element, pseudo);
  const below = ground(element);
  const ink = colour(style.color);
  const ratio = contrast(over([...ink.slice(0, 3), ink[3] * Number(style.opacity)], below), below);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) say(`contrast ${ratio.toFixed(2)} of ${pseudo ?? "text"}`, element);
  if (size < 12) say(`text of ${size} pixels`, element);
}

function contrasts() {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const holders = new Set();
  while (walker.nextNode()) if (walker.currentNode.data.trim()) holders.add(walker.currentNode.parentElement);
  for (const e of holders) if (!e.matches("script, style, option, :disabled") && seen(e)) readable(e);
  for (const e of all("body *").filter(seen)) {
    for (const pseudo of ["::before", "::after"]) {
      if (!["none", "normal", '""'].includes(getComputedStyle(e, pseudo).content)) readable(e, pseudo);
    }
  }
  for (const e of all("input:not([type=hidden], [hidden]), select, textarea").filter(seen)) {
    readable(e);
    if (e.placeholder) readable(e, "::placeholder");
    // 1.4.11: the border is what shows where the field is.
    const around = ground(e.parentElement);
    if (Math.max(contrast(colour(getComputedStyle(e).borderTopColor), around), contrast(ground(e), around)) < 3) {
      say("a field that cannot be told from its ground", e);
    }
  }
}

// A word that is broken where it has no hyphen, and what sticks out of the block that it is in.
function overflows() {
  const pen = document.createElement("canvas").getContext("2d");
  for (const e of all("body *").filter(seen)) {
    const label = getComputedStyle(e, "::before");
    pen.font = label.font;
    const words = /^"(.*)"$/.exec(label.content)?.[1].split(" ") ?? [];
    const broken = words.find((word) => pen.measureText(word).width > parseFloat(label.width) + 1);
    if (broken) say(`the word ${broken} of ::before is broken`, e);
    for (const text of [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE)) brokenWords(text);
    const box = e.getBoundingClientRect();
    const block = e.parentElement.closest("li, td, th, dd, section, article, main, nav, header");
    if (block && box.right > block.getBoundingClientRect().right + 1) say(`wider than its <${block.localName}>`, e);
  }
}

function brokenWords(text) {
  // Identifiers may break: only what is a word for people.
  for (const { 0: word, index } of text.data.matchAll(/(?<=^|\s)\p{L}{2,24}(?=[.,;:]?(\s|$))/gu)) {
    const range = new Range();
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) {
      say(`the word ${word} is broken`, text.parentElement);
    }
  }
}

function layout() {
  const over = document.scrollingElement.scrollWidth - innerWidth;
  if (over <= 0) return;
  const right = (e) => e.getBoundingClientRect().right;
  const widest = all("body *").reduce((a, b) => (right(b) > right(a) ? b : a));
  say(`the page is ${over} pixels too wide, by`, widest);
}

async function transferred() {
  const icon = document.querySelector("link[rel=icon]");
  if (icon) await fetch(icon.href, { cache: "no-store" });
  // Without refreshes of the page itself.
  const resources = performance.getEntriesByType("resource").filter((e) => e.name !== location.href);
  const entries = [...performance.getEntriesByType("navigation"), ...resources];
  return entries.reduce((sum, e) => sum + Math.max(e.transferSize, e.encodedBodySize), 0);
}

async function look() {
  await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
  for (const check of [head, structure, controls, targets, contrasts, overflows, layout]) check();
  const bytes = await transferred();
  if (bytes > 100_000) say(`${bytes} bytes transferred`);
  const paint = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null;
  const status = performance.getEntriesByType("navigation")[0].responseStatus;
  return { faults: [...new Set(faults)], bytes, paint, status };
}

look().then(done, (error) => done({ faults: [`the checks failed: ${error.stack}`] }));
