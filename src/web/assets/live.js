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

  const busy = () => {
    const selection = document.getSelection();
    const ticked = region().querySelector("input:checked");
    return document.hidden || ticked || region().contains(document.activeElement) || (selection && !selection.isCollapsed);
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
    replace("live", page);
    replace("pages", page);
    replace("aside", page);
  };

  const turn = async () => {
    if (!busy() || !notice.hidden) {
      try {
        await refresh();
        notice.hidden = true;
      } catch {
        notice.hidden = false;
      }
    }
    setTimeout(turn, period);
  };
  setTimeout(turn, period);
})();
