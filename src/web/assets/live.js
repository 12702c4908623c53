// Keeps the part of an open page that shows live values up to date, and says so while the server cannot be reached.
"use strict";

// Copies a secret that is shown once, where the browser allows it.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
  });
}

(() => {
  const region = () => document.getElementById("live");
  if (!region() || "still" in document.body.dataset) return;
  const notice = document.getElementById("reconnecting");
  const period = Number(region().dataset.every) * 1000;
  // On the page of a node that does not serve, 503 is the normal answer and anything else means that it serves now.
  const waiting = "waiting" in region().dataset;

  // What somebody works with stays as it is.
  const busy = () => {
    const selection = document.getSelection();
    const ticked = region().querySelector("input:checked");
    return ticked || region().contains(document.activeElement) || (selection && !selection.isCollapsed);
  };

  const replace = (id, page) => {
    const [now, then] = [page.getElementById(id), document.getElementById(id)];
    if (now && then && now.innerHTML !== then.innerHTML && !then.contains(document.activeElement)) then.replaceWith(now);
  };

  const refresh = async () => {
    const answer = await fetch(location.href, {
      headers: { "X-Live": "1" },
      redirect: "manual",
      cache: "no-store",
      signal: AbortSignal.timeout(10000),
    });
    if (answer.status === 503 && !waiting) throw new Error("not serving");
    if (answer.type === "opaqueredirect" || (waiting && answer.status !== 503)) {
      location.reload();
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!busy()) replace("live", page);
    replace("pages", page);
    replace("aside", page);
  };

  // Whether the page is up to date now; says so when the server is not heard of soon.
  let asking = false;
  const attempt = async () => {
    if (asking) return true;
    asking = true;
    const slow = setTimeout(() => (notice.hidden = false), 500);
    try {
      await refresh();
      notice.hidden = true;
      return true;
    } catch {
      notice.hidden = false;
      return false;
    } finally {
      clearTimeout(slow);
      asking = false;
    }
  };

  let stream, timer;
  const after = (ms, what) => {
    clearTimeout(timer);
    timer = setTimeout(what, ms);
  };
  const rest = () => {
    clearTimeout(timer);
    stream?.close();
  };

  // Asks until the server answers, then listens.
  const poll = async () => {
    rest();
    const there = await attempt();
    if (document.hidden) return;
    if (there && !waiting) listen();
    else after(there ? period : 1000, poll);
  };

  // The server tells of news; one that stands still says nothing at all.
  const listen = () => {
    const silence = () => after(period + 5000, poll);
    let opened = false;
    stream = new EventSource(`/live?every=${period / 1000}`);
    stream.onopen = () => (opened = true);
    stream.onmessage = async () => {
      silence();
      if (!(await attempt())) after(1000, poll);
    };
    stream.onerror = () => {
      stream.close();
      // Where there is no stream, the page asks now and then.
      after(opened ? 0 : period, poll);
    };
    silence();
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : poll()));
  addEventListener("pagehide", rest);
  if (waiting) after(period, poll);
  else if (!document.hidden) listen();
})();
