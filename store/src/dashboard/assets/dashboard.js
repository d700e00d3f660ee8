// What a page does beyond HTML: copy, count down, take a double click for one,
// and forget a key when the page is left. All pages work without it, but for the
// copy button, which is hidden then.
"use strict";

const key = document.getElementById("api-key");
const copy = document.getElementById("copy");
const copied = document.getElementById("copied");

if (key && copy && copied) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(key.textContent);
      copied.textContent = "Copied to the clipboard.";
    } catch {
      getSelection().selectAllChildren(key);
      copied.textContent = "The browser did not allow it: the key is selected, press Ctrl+C.";
    }
  });
  // A page that the browser keeps to go back to must not hold the key.
  addEventListener("pagehide", () => {
    key.textContent = "(not shown again)";
    copy.remove();
    copied.textContent = "";
  });
}

// A second click of a double click is none. Later ones may be meant: the first
// answer may have got lost, and the server makes one key of one form anyway.
for (const form of document.forms) {
  let quietUntil = 0;
  form.addEventListener("submit", (event) => {
    if (performance.now() < quietUntil) event.preventDefault();
    else quietUntil = performance.now() + 2000;
  });
}

for (const clock of document.querySelectorAll("[data-countdown]")) {
  // By the monotonic clock: nobody's wall clock need be right.
  const end = performance.now() + 1000 * Number(clock.dataset.countdown);
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - performance.now()) / 1000));
    const two = (number) => String(number).padStart(2, "0");
    clock.textContent = two(Math.floor(left / 60)) + ":" + two(left % 60);
    if (left > 0) return;
    clearInterval(timer);
    const told = clock.closest("#next-rotation");
    if (told) told.textContent = "Possible now.";
  };
  const timer = setInterval(tick, 250);
}
