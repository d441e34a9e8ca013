"use strict";
// All of this is comfort: without it every page can be read, and every form sent.
(() => {
  const live = document.getElementById("live");
  if (live) {
    let changes = 0;
    const source = new EventSource(`/api/v1/events?after=${live.dataset.after}`);
    source.addEventListener("alert", () => {
      changes += 1;
      live.querySelector("span").textContent =
        changes === 1 ? "1 change since this page was made." : `${changes} changes since this page was made.`;
      live.hidden = false;
    });
    addEventListener("pagehide", () => source.close());
  }
  for (const select of document.querySelectorAll("form.filters select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
})();
