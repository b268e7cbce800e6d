// SPDX-License-Identifier: Apache-2.0
// Light or dark as it was chosen here before, set ahead of the first paint. Without a choice the system's setting
// holds.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem('kith-theme');
  } catch {
    /* storage is switched off */
  }
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
})();
