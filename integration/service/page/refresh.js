// Refreshes the page's content while a run is under way; without it, reload by hand.
"use strict";
(function () {
  const SECONDS = 2;
  async function refresh() {
    const live = document.querySelector("[data-refresh]");
    if (!live || document.hidden) { window.setTimeout(refresh, SECONDS * 1000); return; }
    try {
      const answer = await fetch(window.location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        const focused = document.activeElement && document.activeElement.getAttribute("href");
        document.querySelector("main").replaceChildren(...fresh.querySelector("main").childNodes);
        if (focused) {
          const same = document.querySelector("main a[href=" + CSS.escape(focused) + "]");
          if (same) { same.focus(); }
        }
      }
    } catch (error) { /* the service is away; the next attempt may succeed */ }
    window.setTimeout(refresh, SECONDS * 1000);
  }
  window.setTimeout(refresh, SECONDS * 1000);
})();
