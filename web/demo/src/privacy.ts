// Says in the page's head how many requests went to other sites: none.
import { $ } from "./dom";

export function countRequests() {
  let others = 0;
  const show = () => {
    $("requests").textContent = `${others} requests to other sites`;
    $("privacy").classList.toggle("bad", others > 0);
  };
  new PerformanceObserver((list) => {
    for (const { name } of list.getEntries()) {
      const { origin, protocol } = new URL(name, location.href);
      if (protocol.startsWith("http") && origin !== location.origin) others++;
    }
    show();
  }).observe({ type: "resource", buffered: true });
  show();
}
